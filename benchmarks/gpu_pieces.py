"""Pieces of the check on a GPU: each is a function of :class:`Options` that returns what goes into its json file.

Every piece also runs on a CPU with ``quick``, which shrinks it to a test of this file; such figures mean nothing.
"""

import gc
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple

import cv2
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from small_fusers import SMALL
from torch.utils.data import DataLoader

from mmfusion.apis import FusionInferencer
from mmfusion.datasets.transforms import LoadPair
from mmfusion.evaluation.protocols import evaluate_metrics, expand_names
from mmfusion.models.fusers import BaseFuser
from mmfusion.profiling.metric_benchmark import synthetic_triple
from mmfusion.profiling.synthetic import synthetic_batch
from mmfusion.profiling.timing import measure, ratio
from mmfusion.registry import MODELS
from mmfusion.utils import load_config

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = dict(
    fp32={},
    fp16=dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'),
    bf16=dict(type='BFloat16OptimWrapper'),
)
#: Config: (height, width) of a picture and pairs in a batch, as the config trains.
JOINT = dict(moe_fusion_llvip_light=((160, 192), 4), moe_fusion_llvip=((512, 640), 4))


class Options(NamedTuple):
    """What all pieces are told.

    Attributes:
        device: ``'cuda'`` or ``'cpu'``.
        steps: Training steps that are timed.
        seconds: Time after which a loop of steps ends early; the number done stands in the result.
        quick: Smallest shapes, to test the script.
    """

    device: str
    steps: int
    seconds: float
    quick: bool

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith('cuda')


def gpu_tests(options: Options) -> dict:
    """The tests marked ``gpu``."""
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-q',
        '-m',
        'gpu',
        '-p',
        'no:cacheprovider',
        *(['--collect-only'] if options.quick else []),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=options.seconds, check=False)
    result = dict(passed=done.returncode == 0, tail=done.stdout.splitlines()[-30:])
    if done.returncode:
        raise RuntimeError('\n'.join(result['tail']))
    return result


def fuser_names() -> List[str]:
    """Every registered fuser of the package."""
    return sorted(
        name
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type) and issubclass(cls, BaseFuser) and cls.__module__.startswith('mmfusion.')
    )


def against_cpu(name: str, options: Options) -> dict:
    """Forward and backward pass of a fuser, on the device and on the CPU, in float32 without TF32: largest differences
    and times.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    fuser = MODELS.build(dict(type=name, **(SMALL.get(name, {}) if options.quick else {}))).eval()
    size = (32, 48) if options.quick else (240, 320)
    sources = [torch.rand(1, fuser.channels[-1], *size) for _ in range(2)]
    found = {}
    for device in ('cpu', options.device):
        fuser.to(device).zero_grad()
        first, second = (image.clone().to(device).requires_grad_() for image in sources)
        fused = fuser(first, second).fused
        fused.square().mean().backward()
        gradients = {
            'first': first.grad,
            'second': second.grad,
            **{key: value.grad for key, value in fuser.named_parameters()},
        }
        found[device] = (
            fused.detach().cpu(),
            {key: value.cpu() for key, value in gradients.items() if value is not None},
        )
    (expected, reference), (fused, gradients) = found['cpu'], found[options.device]
    if gradients.keys() != reference.keys():
        raise RuntimeError(f'{name}: gradients differ in {sorted(gradients.keys() ^ reference.keys())}')
    scale = max(value.abs().max().item() for value in reference.values()) or 1.0
    result = dict(
        difference=(fused - expected).abs().max().item(),
        gradient_difference=max((gradients[key] - reference[key]).abs().max().item() for key in reference) / scale,
        shape=size,
    )
    if not result['difference'] < 1e-3 or not result['gradient_difference'] < 1e-2:
        raise RuntimeError(f'{name} differs from the CPU: {result}')
    return result


def joint_training(config: str, precision: str, options: Options) -> dict:
    """Steps of joint training on ready batches: pairs per second, peak memory, and where the step waits for the
    device.
    """
    (size, pairs), cfg = JOINT[config], load_config(str(ROOT / 'configs' / f'{config}.py'))
    if options.quick:
        size, pairs = (64, 64), 2
    model = build(cfg, options)
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, **PRECISIONS[precision]})
    batches = [synthetic_batch(size, pairs, seed=seed) for seed in range(2)]
    return timed_steps(lambda index: model.train_step(batches[index % 2], wrapper), pairs, options)


def meta_training(config: str, options: Options) -> dict:
    """Meta steps of TDFusion and steps of its second phase, in float32 as the method asks for."""
    cfg = load_config(str(ROOT / 'configs' / f'{config}.py'))
    model = build(cfg, options)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    size = (64, 64) if options.quick else (256, 320)
    inner, outer = (synthetic_batch(size, 1, seed=seed) for seed in (0, 1))
    return dict(
        meta=timed_steps(lambda index: model.meta_step(inner, outer, wrapper), 2, options),
        plain=timed_steps(lambda index: model.train_step(inner, wrapper), 1, options),
    )


def tc_moa(arch: str, checkpointing: bool, options: Options) -> dict:
    """TC-MoA at 448x448, float32 and bfloat16: inference, and training steps of its trainable part, with and without
    checkpointing.
    """
    result = {}
    for precision in ('fp32', 'bf16'):
        torch.manual_seed(0)
        fuser = MODELS.build(
            dict(type='TCMoA', with_cp=checkpointing, **(SMALL['TCMoA'] if options.quick else dict(arch=arch)))
        ).to(options.device)
        side = 32 if options.quick else 448
        sources = [torch.rand(1, 3, side, side, device=options.device) for _ in range(2)]
        trained = [value for value in fuser.parameters() if value.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-5)
        casting = (
            partial(torch.autocast, torch.device(options.device).type, torch.bfloat16)
            if precision == 'bf16'
            else nullcontext
        )

        def train(index: int, fuser=fuser, optimizer=optimizer, casting=casting, sources=sources) -> None:
            optimizer.zero_grad()
            with casting():
                output = fuser(*sources)
            (output.fused.float().square().mean() + sum(output.losses.values())).backward()
            optimizer.step()

        def infer(index: int, fuser=fuser, casting=casting, sources=sources) -> None:
            with torch.no_grad(), casting():
                fuser(*sources)

        fuser.train()
        result[f'{precision}.train'] = timed_steps(train, 1, options, watch=False)
        fuser.eval()
        result[f'{precision}.infer'] = timed_steps(infer, 1, options, watch=False)
        del fuser, optimizer, train, infer
        gc.collect()
    return result


def metrics(options: Options) -> dict:
    """All metrics of the default protocol on a batch: largest relative difference from the CPU, images per second of
    both.
    """
    names = ['EN', 'SSIM'] if options.quick else expand_names(['all'], 'default')
    images = [
        image.double().repeat(2 if options.quick else 8, 1, 1, 1)
        for image in synthetic_triple((64, 80) if options.quick else (480, 640))
    ]
    moved = [image.to(options.device) for image in images]
    values = {key: value.cpu() for key, value in evaluate_metrics(names, *moved).items()}
    expected = evaluate_metrics(names, *images)
    differences = {
        key: ((values[key] - value).abs() / value.abs().clamp_min(1e-6)).max().item() for key, value in expected.items()
    }
    timings = measure(
        dict(device=lambda: evaluate_metrics(names, *moved)), 1 if options.quick else 5, 1, options.device
    )
    on_cpu = measure(dict(cpu=lambda: evaluate_metrics(names, *images)), 1, 0)
    return dict(
        metrics=len(names),
        batch=len(images[0]),
        largest_difference=max(differences.values()),
        differences=differences,
        images_per_s=len(images[0]) / timings['device'].median(),
        cpu_images_per_s=len(images[0]) / on_cpu['cpu'].median(),
    )


def inferencer(options: Options) -> dict:
    """The default model on pairs of arrays: pairs per second."""
    fuse = FusionInferencer(device=options.device)
    size = (64, 80) if options.quick else (480, 640)
    batch = synthetic_batch(size, 1)['inputs']
    first, second = (batch[key][0].permute(1, 2, 0).numpy() for key in ('first', 'second'))
    result = timed_steps(lambda index: fuse(first, second), 1, options, watch=False)
    return dict(size=size, **result)


def two_processes(options: Options) -> dict:
    """A short training of the demo in two processes, one for each device."""
    if options.cuda and torch.cuda.device_count() < 2:
        return dict(skipped=f'{torch.cuda.device_count()} device is here, two are needed')
    if not options.cuda:
        return dict(skipped='needs two CUDA devices')
    with tempfile.TemporaryDirectory() as folder:
        command = [
            'bash',
            'tools/dist_train.sh',
            'configs/moe_fusion_demo.py',
            '2',
            '--work-dir',
            folder,
            '--cfg-options',
            'train_cfg.max_epochs=1',
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=options.seconds, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return dict(tail=done.stdout.splitlines()[-15:])


def compiled(name: str, options: Options) -> dict:
    """``torch.compile`` and CUDA graphs against eager, forward pass in evaluation mode: ratio of times and largest
    difference.
    """
    fuser = MODELS.build(dict(type=name, **(SMALL.get(name, {}) if options.quick else {}))).eval().to(options.device)
    sources = [
        torch.rand(1, fuser.channels[-1], *((32, 48) if options.quick else (480, 640)), device=options.device)
        for _ in range(2)
    ]
    modes = (
        dict(compile=dict(), cuda_graphs=dict(mode='reduce-overhead'))
        if options.cuda
        else dict(compile=dict(backend='eager'))
    )
    result = {}
    with torch.no_grad():
        expected = fuser(*sources).fused
        for mode, arguments in modes.items():
            torch._dynamo.reset()
            start = time.perf_counter()
            network = torch.compile(fuser, **arguments)
            difference = (network(*sources).fused - expected).abs().max().item()
            warm_up = time.perf_counter() - start
            timings = measure(
                dict(eager=lambda: fuser(*sources), fast=lambda network=network: network(*sources)),
                2 if options.quick else 20,
                2,
                options.device,
            )
            result[mode] = dict(
                ratio=ratio(timings['fast'], timings['eager']),
                eager_ms=1e3 * timings['eager'].median(),
                difference=difference,
                first_call_s=warm_up,
            )
    return result


def data_loading(workers: int, options: Options) -> dict:
    """Pairs of 640x480 read from PNG and JPEG files: pairs per second, to compare with a training step."""
    count, result = (8 if options.quick else 64), {}
    triple = [image[0, 0].numpy() for image in synthetic_triple((48, 64) if options.quick else (480, 640))]
    for suffix in ('png', 'jpg'):
        with tempfile.TemporaryDirectory() as folder:
            pairs = []
            for index in range(count):
                paths = [f'{folder}/{source}{index}.{suffix}' for source in ('first', 'second')]
                cv2.imwrite(paths[0], cv2.merge(triple))
                cv2.imwrite(paths[1], triple[2])
                pairs.append(paths)
            loader = DataLoader(
                PairFiles(pairs * (1 if options.quick else 8)), batch_size=4, num_workers=workers, collate_fn=list
            )
            start = time.perf_counter()
            seen = sum(len(batch) for batch in loader)
            result[suffix] = dict(pairs_per_s=seen / (time.perf_counter() - start), workers=workers)
    return result


class PairFiles(torch.utils.data.Dataset):
    """Pairs of picture files through :class:`LoadPair`."""

    def __init__(self, pairs: List[List[str]]) -> None:
        self.pairs, self.load = pairs, LoadPair()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        first, second = self.pairs[index]
        return self.load(dict(img_path=first, first_path=first, second_path=second))


# ---- shared by the pieces --------------------------------------------------------------------------------------------


def build(cfg: Config, options: Options) -> torch.nn.Module:
    """The coupling of a config in training mode on the device, with the same random weights every time and nothing
    downloaded.
    """
    torch.manual_seed(0)
    return without_downloads(MODELS.build(cfg.model)).to(options.device).train()


def without_downloads(model: torch.nn.Module) -> torch.nn.Module:
    """Keep the weights that torch gives; pretrained ones do not change times."""
    for module in model.modules():
        if hasattr(module, 'init_cfg'):
            module.init_cfg = None
    return model


def timed_steps(step: Callable[[int], object], pairs: int, options: Options, watch: bool = True) -> Dict[str, object]:
    """Run ``step(index)`` again and again.

    Args:
        step: One step.
        pairs: Pairs in a step.
        options: How many steps, for how long, and where.
        watch: List the lines of Python at which a step waits for the device, in two more steps.

    Returns:
        dict: ``steps``, ``pairs_per_s``, ``step_ms``, ``peak_mib`` (on a GPU) and ``synchronizations`` (place: times in
        a step).
    """
    steps = 2 if options.quick else options.steps
    wait = torch.cuda.synchronize if options.cuda else (lambda: None)
    for index in range(1 if options.quick else 5):
        step(index)
    wait()
    if options.cuda:
        torch.cuda.reset_peak_memory_stats()
    start, done = time.perf_counter(), 0
    while done < steps and time.perf_counter() - start < options.seconds:
        step(done)
        done += 1
    wait()
    elapsed = time.perf_counter() - start
    result = dict(steps=done, pairs_per_s=done * pairs / elapsed, step_ms=1e3 * elapsed / done)
    if options.cuda:
        result['peak_mib'] = torch.cuda.max_memory_allocated() / 2**20
        if watch:
            result['synchronizations'] = synchronizations(step)
    return result


def synchronizations(step: Callable[[int], object], repeats: int = 2) -> Dict[str, float]:
    """Lines at which a step waits for the GPU, as torch reports them, with the times in a step."""
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            for index in range(repeats):
                step(index)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    counts = Counter(
        f'{warning.filename}:{warning.lineno}' for warning in caught if 'synchroniz' in str(warning.message)
    )
    return {place: number / repeats for place, number in counts.most_common()}


def all_pieces() -> Dict[str, Callable[[Options], dict]]:
    """Every piece by its name, in the order in which they run."""
    pieces: Dict[str, Callable[[Options], dict]] = {
        f'fuser-{name}': partial(against_cpu, name) for name in fuser_names()
    }
    pieces.update(
        {
            f'train-{config}-{precision}': partial(joint_training, config, precision)
            for config in JOINT
            for precision in PRECISIONS
        }
    )
    pieces.update(
        {f'meta-{config}': partial(meta_training, config) for config in ('tdfusion_msrs_light', 'tdfusion_llvip')}
    )
    for arch in ('base', 'large'):
        pieces.update(
            {f'tc_moa-{arch}': partial(tc_moa, arch, False), f'tc_moa-{arch}-checkpointed': partial(tc_moa, arch, True)}
        )
    pieces.update(metrics=metrics, inferencer=inferencer, two_processes=two_processes)
    pieces.update({f'compile-{name}': partial(compiled, name) for name in ('MoEFusion', 'ReFusion', 'TCMoA', 'TIM')})
    pieces.update({f'data-{workers}': partial(data_loading, workers) for workers in (1, 4)})
    pieces['tests'] = gpu_tests
    return pieces
