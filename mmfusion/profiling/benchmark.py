"""Timing the parts of a config: forward, training step and data loading; alone or against another config in one run."""

import contextlib
import copy
from functools import cached_property
from typing import Callable, Dict, Iterable, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from torch import nn

from mmfusion.apis.build import build_coupling
from mmfusion.models.couplings import BaseCoupling
from mmfusion.profiling.timing import Timing, describe_machine, measure, ratio
from mmfusion.registry import DATASETS, OPTIMIZERS, build_configured
from mmfusion.running.compilation import compile_fuser
from mmfusion.utils import UserError
from mmfusion.utils.errors import InputError

from .data_loading import PipelineClock, pairs_in_time
from .own_step import own_train_step
from .synthetic import synthetic_batch

PARTS = ('forward', 'train', 'data')
#: The whole; all but the task networks; the fuser network and its losses without the guide; the guide; the task
#: networks on ready images.
WHATS = ('coupling', 'fusion', 'fuser', 'guide', 'task')


class Workload:
    """What can be timed of one config.

    Args:
        cfg: Config with ``model``; ``optim_wrapper`` is used for the training step (its learning rate set to 0, so that
            weights stay as they are) and ``train_dataloader`` for data loading.
        shape: (H, W) of the random pictures.
        batch_size: Pairs in a batch.
        channels: Channels of both sources.
        device: Device of the model.
        amp: Use autocast: float16 on a GPU, bfloat16 on a CPU. Without loss scaling.
        compile: Compile the fuser, whether or not that is known to help.
    """

    def __init__(
        self,
        cfg: Config,
        shape: Tuple[int, int],
        batch_size: int = 1,
        channels: Tuple[int, int] = (3, 1),
        device: str = 'cpu',
        amp: bool = False,
        compile: bool = False,
    ) -> None:
        self.cfg, self.batch_size, self.device, self.amp, self.compile = (
            cfg,
            batch_size,
            torch.device(device),
            amp,
            compile,
        )
        self.batch = synthetic_batch(shape, batch_size, channels)
        self.clock: Optional[PipelineClock] = None

    @cached_property
    def coupling(self) -> BaseCoupling:
        """The model; data loading does without."""
        coupling = build_coupling(self.cfg, device=str(self.device), warn=False).coupling
        if self.compile:
            compile_fuser(coupling, self.device, measured=False)
        return coupling

    def function(self, part: str, what: str = 'coupling') -> Optional[Callable[[], object]]:
        """One call's worth of work; None when the config has no such thing (a fuser without parameters does not train).

        Args:
            part: Out of :data:`PARTS`.
            what: Out of :data:`WHATS`; data loading has only one kind.

        Raises:
            UserError: The config has no data set to load.
        """
        if part == 'data':
            return self._data()
        if (what == 'guide' and self.coupling.guide is None) or (what == 'task' and not len(self.coupling.tasks)):
            return None
        return self._forward(what) if part == 'forward' else self._train(what)

    def _prepared(self, training: bool) -> tuple:
        data = self.coupling.data_preprocessor(copy.deepcopy(self.batch), training)
        return data['inputs'], data['data_samples']

    def _fresh(self, samples: list) -> list:
        return [sample.new() for sample in samples]  # predictions are written into the samples

    @contextlib.contextmanager
    def _precision(self):
        if not self.amp:
            yield
            return
        with torch.autocast(self.device.type, torch.float16 if self.device.type == 'cuda' else torch.bfloat16):
            yield

    def _forward(self, what: str) -> Callable[[], object]:
        coupling = self.coupling
        inputs, samples = self._prepared(False)
        coupling.eval()
        with torch.no_grad(), self._precision():
            fusion = coupling.fuse(inputs, data_samples=samples)
        run = {
            'coupling': lambda: coupling(inputs, self._fresh(samples), mode='predict'),
            'fusion': lambda: coupling.fuse(inputs, data_samples=samples),
            'fuser': lambda: coupling.fuser(fusion.first, fusion.second),
            'guide': lambda: coupling.guide(inputs['first'], inputs['second']),
            'task': lambda: [task.predict(fusion.image, self._fresh(samples)) for task in coupling.tasks.values()],
        }[what]

        def forward():
            coupling.eval()
            with torch.no_grad(), self._precision():
                return run()

        return forward

    def _train(self, what: str) -> Optional[Callable[[], object]]:
        coupling = self.coupling
        if what == 'coupling' and coupling.averages_gradients:
            return self._own_step()
        inputs, samples = self._prepared(True)
        with torch.no_grad(), self._precision():
            fusion = coupling.fuse(inputs, data_samples=samples)

        def fusion_step() -> dict:
            now, losses = coupling.guide_and_fuse(inputs, samples)
            return {**losses, **coupling.fusion_losses(now, samples)}

        def fuser_step() -> dict:
            fused, losses = coupling.fuser(fusion.first, fusion.second)
            return {
                **{f'fuser.{key}': value for key, value in losses.items()},
                **coupling.fusion_losses(fusion._replace(fused=fused), samples),
            }

        compute, modules = {
            'coupling': (lambda: coupling.loss(inputs, samples), [coupling]),
            'fusion': (fusion_step, [coupling.fuser, coupling.guide, coupling.fusion_loss]),
            'fuser': (fuser_step, [coupling.fuser, coupling.fusion_loss]),
            'guide': (lambda: coupling.guide.loss(inputs['first'], inputs['second'], samples)[1], [coupling.guide]),
            'task': (lambda: coupling.task_losses(fusion.image, samples), [coupling.tasks]),
        }[what]
        wrapper = self._optimizer(module for module in modules if module is not None)
        if wrapper is None:
            return None

        def step():
            coupling.train()
            with self._precision():
                loss, _ = coupling.parse_losses(compute())
            wrapper.update_params(loss)

        with self._precision():
            names = [name for name in compute() if 'loss' in name]
        return step if names else None

    def _own_step(self) -> Callable[[], object]:
        one = self.batch['inputs']
        shape, channels = (
            tuple(one['first'][0].shape[-2:]),
            tuple(len(one[source][0]) for source in ('first', 'second')),
        )
        own = own_train_step(self.coupling, self.cfg.get('optim_wrapper'), shape, self.batch_size, channels)

        def step():
            with self._precision():
                return own()

        return step

    def _optimizer(self, modules: Iterable[nn.Module]) -> Optional[OptimWrapper]:
        parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
        if not parameters:
            return None
        options = self.cfg.get('optim_wrapper') or {}
        optimizer = {**(options.get('optimizer') or {'type': 'AdamW'}), 'params': parameters, 'lr': 0.0}
        return OptimWrapper(build_configured(OPTIMIZERS, optimizer), clip_grad=options.get('clip_grad'))

    def _data(self) -> Callable[[], object]:
        if not self.cfg.get('train_dataloader'):
            raise UserError('the config has no train_dataloader, so there is no data loading to time')
        dataset = build_configured(DATASETS, self.cfg.train_dataloader.dataset)
        self.clock = PipelineClock(dataset)
        position = iter(range(10**12))

        def load():
            return pseudo_collate([dataset[next(position) % len(dataset)] for _ in range(self.batch_size)])

        return load


def run_benchmark(
    cfgs: Dict[str, Config],
    parts: Sequence[str] = ('forward', 'train'),
    whats: Sequence[str] = ('coupling',),
    repeats: int = 10,
    warmup: int = 2,
    workers: int = 4,
    step_ms: float = 50.0,
    plain: Sequence[str] = (),
    **options,
) -> dict:
    """Time one config, or two against each other.

    The forward pass starts from batches in [0, 1] on the device and includes post-processing; the training step is
    loss, backward, gradient clipping and optimizer.

    Args:
        cfgs: Config by name; with two, they take turns in every round.
        parts: Out of :data:`PARTS`.
        whats: Out of :data:`WHATS`.
        repeats: Rounds that count.
        warmup: Rounds before.
        workers: Data workers, for the statement whether data loading keeps up.
        step_ms: Milliseconds of a training step, likewise.
        plain: Names of configs that run without ``amp`` and ``compile``, to compare with.
        options: As :class:`Workload`: ``shape``, ``batch_size``, ``channels``, ``device``, ``amp``, ``compile``.

    Returns:
        ``machine``, ``options`` and ``rows``; each row has ``part``, ``what``, ``config``, medians in ms (``wall_ms``,
        ``cpu_ms``, ``gpu_ms``), ``spread``, ``images_per_s``, ``memory_mb`` and, with two configs, ``ratio`` (first
        over second, median over rounds). ``data_loading`` by config, when that was timed: CPU milliseconds ``per_pair``
        (collating included) and of each transform (``transforms``), and the largest ``batch_size`` that so many workers
        have ready within a step. ``joint_overhead`` by config, when coupling, fusion and task were trained: see
        :func:`joint_overhead`.

    Raises:
        ValueError: A part or a what is unknown, or there are more than two configs.
        UserError: The configs have nothing of what was asked for.
    """
    if workers < 1 or not step_ms > 0:
        raise InputError(f'workers must be at least 1 and step_ms above 0, got {workers} and {step_ms}')
    for name, chosen, known in (('parts', parts, PARTS), ('what', whats, WHATS)):
        if not chosen or set(chosen) - set(known):
            raise InputError(f'{name} must be out of {", ".join(known)}, got {", ".join(chosen)}')
    if not 1 <= len(cfgs) <= 2:
        raise InputError(f'one config or two can be timed, got {len(cfgs)}')
    device = str(options.get('device', 'cpu'))
    result = {
        'machine': describe_machine(device),
        'options': {**options, 'repeats': repeats, 'warmup': warmup},
        'rows': [],
    }
    workloads = {
        name: Workload(cfg, **{**options, **(dict(amp=False, compile=False) if name in plain else {})})
        for name, cfg in cfgs.items()
    }
    batch_size = options.get('batch_size', 1)
    for part in parts:
        # everything of one part takes turns, so that its rows compare with each other
        functions = {}
        for what in ('data',) if part == 'data' else whats:
            for name, workload in workloads.items():
                function = workload.function(part, what)
                if function is not None:
                    functions[what, name] = function
        timings = measure(functions, repeats, warmup, 'cpu' if part == 'data' else device)
        rows = [_row(part, what, name, timing, batch_size) for (what, name), timing in timings.items()]
        if len(cfgs) == 2:
            one, other = cfgs
            for row in rows:
                if row['config'] == one and (row['what'], other) in timings:
                    row['ratio'] = ratio(timings[row['what'], one], timings[row['what'], other])
                    row['cpu_ratio'] = ratio(timings[row['what'], one], timings[row['what'], other], 'cpu')
        result['rows'] += rows
        if part == 'data':
            result['data_loading'] = {
                row['config']: _data_loading(row, workloads[row['config']], warmup, workers, step_ms) for row in rows
            }
        if part == 'train':
            overheads = {name: joint_overhead(timings, name) for name in cfgs}
            result['joint_overhead'] = {name: value for name, value in overheads.items() if value}
    if not result['rows']:
        raise UserError(
            f'there is nothing to time: these configs have no {" or ".join(whats)} that does {" or ".join(parts)}'
        )
    result['machine']['load_average_after'] = describe_machine(device)['load_average']
    return result


def _row(part: str, what: str, name: str, timing: Timing, batch_size: int) -> dict:
    wall = timing.median()
    return {
        'part': part,
        'what': what,
        'config': name,
        'wall_ms': wall * 1e3,
        'cpu_ms': timing.median('cpu') * 1e3,
        'gpu_ms': timing.median('gpu') * 1e3,
        'spread': timing.spread(),
        'images_per_s': batch_size / wall,
        'memory_mb': None if timing.memory is None else timing.memory / 2**20,
    }


def _data_loading(row: dict, workload: Workload, warmup: int, workers: int, step_ms: float) -> dict:
    per_pair = row['cpu_ms'] / workload.batch_size
    return dict(
        per_pair=per_pair,
        transforms=workload.clock.per_pair(warmup * workload.batch_size),
        workers=workers,
        step_ms=step_ms,
        batch_size=pairs_in_time(per_pair, workers, step_ms),
    )


def joint_overhead(timings: Dict[Tuple[str, str], Timing], name: str) -> Optional[Dict[str, float]]:
    """Training step of the whole over the sum of the steps of its halves: median over rounds, wall and CPU.

    Args:
        timings: Timings of the training part by (what, config).
        name: The config.

    Returns:
        None unless coupling, fusion and task were all timed.
    """
    if not {('coupling', name), ('fusion', name), ('task', name)} <= set(timings):
        return None
    joint, fusion, task = (timings[what, name] for what in ('coupling', 'fusion', 'task'))
    apart = Timing(
        *([a + b for a, b in zip(getattr(fusion, kind), getattr(task, kind))] for kind in ('wall', 'cpu', 'gpu')), None
    )
    return {kind: ratio(joint, apart, kind) for kind in ('wall', 'cpu')}


def format_result(result: dict) -> str:
    """The result of :func:`run_benchmark` as a table for the terminal."""
    machine, options = result['machine'], result['options']
    gpu = machine['device'] != 'cpu'
    lines = [
        f'device {machine["device"]}, {machine["cpu_count"]} cores, {machine["torch_threads"]} torch threads, '
        f'torch {machine["torch"]}, OMP_WAIT_POLICY={machine["omp_wait_policy"] or "unset"}',
        f'load average {machine["load_average"]} before, {machine["load_average_after"]} after',
        f'shape {tuple(options["shape"])}, batch '
        f'{options.get("batch_size", 1)}{", autocast" if options.get("amp") else ""}'
        f'{", compiled" if options.get("compile") else ""}, median of {options["repeats"]} after {options["warmup"]} '
        f'warm-up rounds',
        '',
        f'{"part":8} {"what":9} {"config":28} {"wall ms":>9} {"+-":>5} {"CPU ms":>9} '
        + (f'{"GPU ms":>9} ' if gpu else '')
        + f'{"img/s":>8} {"peak MiB":>9} {"ratio":>7}',
    ]
    for row in result['rows']:
        memory = '-' if row['memory_mb'] is None else f'{row["memory_mb"]:.0f}'
        spread = '-' if row['spread'] != row['spread'] else f'{100 * row["spread"]:.0f}%'
        lines.append(
            f'{row["part"]:8} {row["what"]:9} {row["config"][-28:]:28} {row["wall_ms"]:9.2f} {spread:>5} '
            f'{row["cpu_ms"]:9.2f} '
            + (f'{row["gpu_ms"]:9.2f} ' if gpu else '')
            + f'{row["images_per_s"]:8.2f} {memory:>9} '
            + (f'{row["ratio"]:7.3f}' if 'ratio' in row else f'{"":7}')
        )
    for name, value in result.get('joint_overhead', {}).items():
        lines.append(
            f'{name}: the joint training step takes {value["wall"]:.3f} (wall) and {value["cpu"]:.3f} (CPU) '
            'of the fusion and task steps apart'
        )
    for name, data in result.get('data_loading', {}).items():
        steps = ', '.join(f'{step} {value:.1f}' for step, value in data['transforms'].items())
        lines += [
            f'{name}: {data["per_pair"]:.1f} ms of CPU time for a pair' + (f' ({steps})' if steps else ''),
            f'{name}: {data["workers"]} workers with a core each have up to {data["batch_size"]} pairs ready every '
            f'{data["step_ms"]:g} ms',
        ]
    if any('ratio' in row for row in result['rows']):
        lines.append('ratio: first config over second, median over rounds in which they took turns')
    return '\n'.join(line.rstrip() for line in lines)
