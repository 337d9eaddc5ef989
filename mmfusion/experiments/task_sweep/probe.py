"""A hook that looks at what a task network is fed in a real training, and what comes back to the fuser."""

import copy
import random
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from torch import Tensor, nn

from mmfusion.fileio import write_json
from mmfusion.models.couplings.task_network import PREDICTION_FIELDS
from mmfusion.registry import HOOKS, METRICS, TRANSFORMS

from .own_pipeline import file_like, packed, preprocessed, proposals

#: Largest difference of inputs, relative to their range: both sides compute in float32, in another order.
TOLERANCE = 1e-5
META = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape', 'scale_factor')


class Call:
    """One call of a task network.

    Attributes:
        mode: ``'loss'`` or ``'predict'``.
        inputs: (N, 3, H, W), what it was called with.
        samples: Copies of the data samples.
        backbone: What arrived at the first of its parts that looks at pictures.
    """

    def __init__(self, mode: str, inputs: Tensor, samples: Sequence) -> None:
        self.mode, self.inputs, self.samples = mode, inputs.detach().clone(), copy.deepcopy(list(samples))
        self.backbone: Optional[Tensor] = None


class Recorder:
    """Keeps what a task network is called with, and the gradient that comes back to the fuser."""

    def __init__(self, fuser: nn.Module, network: nn.Module) -> None:
        self.fused: List[Tensor] = []
        self.calls: List[Call] = []
        self.states: List[Tuple] = []
        self.gradients: Dict[str, Tensor] = {}
        self.paused = False
        fuser.register_forward_hook(self._see_fused)
        for name, parameter in fuser.named_parameters():
            parameter.register_hook(lambda grad, name=name: self.gradients.__setitem__(name, grad.detach().clone()))
        network.data_preprocessor.register_forward_pre_hook(lambda *_: self.states.append(random_state()))
        network.register_forward_pre_hook(self._see_call, with_kwargs=True)
        for child in network.children():
            if child is not network.data_preprocessor:
                child.register_forward_pre_hook(self._see_part)

    def forget(self) -> None:
        """Begin anew."""
        self.fused, self.calls, self.states = [], [], []

    def _see_fused(self, module: nn.Module, args: tuple, output) -> None:
        self.fused += list(output.fused.detach().clone())  # pictures of one size at a time, in order

    def _see_call(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.paused:
            return
        inputs, samples, mode = (*args, *kwargs.values())[:3]
        self.calls.append(Call(mode, inputs, samples))

    def _see_part(self, module: nn.Module, args: tuple) -> None:
        if self.calls and self.calls[-1].backbone is None and args and isinstance(args[0], Tensor) and args[0].dim() == 4:
            self.calls[-1].backbone = args[0].detach().clone()


def random_state() -> tuple:
    """State of the global generators."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_state(state: tuple) -> None:
    """Put the global generators into a state of :func:`random_state`."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


@TRANSFORMS.register_module()
class ProposalsFromBoxes(BaseTransform):
    """Boxes near the annotated ones as proposals, for networks that cannot do without."""

    def transform(self, results: dict) -> dict:
        """Add ``proposals``."""
        results['proposals'] = proposals(results)
        return results


@METRICS.register_module()
class CountPredictions(BaseMetric):
    """Number of pictures; the loop wants a metric."""

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count one batch."""
        self.results.extend([None] * len(data_samples))

    def compute_metrics(self, results: list) -> dict:
        """The number."""
        return dict(pictures=len(results))


def describe_prediction(sample: dict) -> dict:
    """What was predicted for a picture, and what is wrong with it whatever the network."""
    height, width = sample['ori_shape'][:2]
    fields = [name for name in PREDICTION_FIELDS if sample.get(name) is not None]
    faults = [] if {'pred_instances', 'pred_sem_seg', 'pred_panoptic_seg'} & set(fields) else ['nothing was predicted']
    if 'pred_instances' in fields:
        found = sample['pred_instances']
        if not (torch.isfinite(found['bboxes']).all() and torch.isfinite(found['scores']).all()):
            faults.append('boxes or scores are not finite')
        if 'masks' in found and tuple(found['masks'].shape[-2:]) != (height, width):
            faults.append(f'masks are {tuple(found["masks"].shape[-2:])}, the picture is {(height, width)}')
    for name in ('pred_sem_seg', 'pred_panoptic_seg'):
        if name in fields:
            data = sample[name].get('data', sample[name].get('sem_seg'))
            if tuple(data.shape[-2:]) != (height, width):
                faults.append(f'{name} is {tuple(data.shape[-2:])}, the picture is {(height, width)}')
    return dict(fields=fields, faults=faults)


@HOOKS.register_module()
class TaskProbe(Hook):
    """Compares what the task network ``net`` is fed with what its own pipeline makes of the same fused pictures.

    Args:
        result: JSON file that is written after training and after validation.
        labels: Labels that the network learns from.
        proposals: Whether proposals come with the pictures.
    """

    priority = 'VERY_LOW'

    def __init__(self, result: str, labels: Sequence[str], proposals: bool = False) -> None:
        self.path, self.labels, self.proposals = Path(result), tuple(labels), proposals
        self.found: Dict[str, Any] = dict(labels=list(labels), reached='build')

    def before_train(self, runner) -> None:
        """Look over the shoulder of the network."""
        coupling = getattr(runner.model, 'module', runner.model)
        self.network = coupling.tasks.net.network
        self.recorder = Recorder(coupling.fuser, self.network)
        self._reach('train')

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Compare the training step."""
        losses = {name: float(value) for name, value in (outputs or {}).items() if 'loss' in name}
        gradients = list(self.recorder.gradients.values())
        self.found['train'] = dict(
            loss=losses.get('loss'),
            losses=sorted(name for name in losses if name != 'loss'),
            gradient=float(torch.stack([grad.norm() for grad in gradients]).norm()) if gradients else 0.0,
            **self._compare(runner.train_dataloader.dataset, training=True),
        )
        self._reach('predict')

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Compare the prediction."""
        described = [describe_prediction(sample.to_dict()) for sample in outputs]
        self.found['predict'] = dict(
            fields=sorted({name for one in described for name in one['fields']}),
            faults=sorted({fault for one in described for fault in one['faults']}),
            **self._compare(runner.val_dataloader.dataset, training=False, outputs=outputs),
        )
        self._reach('end')

    def before_val(self, runner) -> None:
        """What the training fed is not that of the validation."""
        self.recorder.forget()

    def _reach(self, stage: str) -> None:
        self.found['reached'] = stage
        write_json(self.path, self.found)

    def _compare(self, dataset, training: bool, outputs: Sequence = ()) -> dict:
        """Differences of all calls since the last look, from what the network's own pipeline makes of the pictures.

        ``outputs`` are compared with what the network predicts on the input of its own pipeline.
        """
        recorder, differences, largest, parts = self.recorder, [], 0.0, set()
        cfg, taken = self.network.built_from, 0
        kept = random_state()
        for call, state in zip(recorder.calls, recorder.states):
            indices = range(taken, taken + len(call.samples))
            taken += len(call.samples)
            set_random_state(state)
            own = preprocessed(cfg, [self._own_sample(dataset, index, cfg) for index in indices], training)
            difference, unlike = compare_inputs(call, own['inputs'])
            largest = max(largest, difference)
            parts.add('none' if call.backbone is None else 'same' if equal(call.backbone, own['inputs']) else 'other')
            differences += unlike + compare_samples(call.samples, own['data_samples'], self.labels, training)
            if not training:
                differences += self._compare_outputs([outputs[index] for index in indices], own)
        set_random_state(kept)
        if taken != len(recorder.fused) or len(recorder.calls) != len(recorder.states):
            differences.append(f'the network looked at {taken} of {len(recorder.fused)} pictures')
        recorder.forget()
        return dict(input_difference=largest, backbone=sorted(parts), differences=differences)

    def _compare_outputs(self, outputs: Sequence, own: dict) -> List[str]:
        self.recorder.paused = True
        with torch.no_grad():
            alone = self.network(own['inputs'], own['data_samples'], mode='predict')
        self.recorder.paused = False
        found = []
        for index, (ours, theirs) in enumerate(zip(outputs, alone)):
            mine, wanted = prediction_arrays(ours), prediction_arrays(theirs)
            found += [
                f'{name} of picture {index} is not what the network predicts alone'
                for name in sorted(set(mine) | set(wanted))
                if name not in mine or name not in wanted or not similar(mine[name], wanted[name])
            ]
        return found

    def _own_sample(self, dataset, index: int, cfg: dict) -> dict:
        part = dataset.datasets[index]
        item = part.get_data_info(0)
        height, width = item['height'], item['width']
        rgb = bool((cfg.get('data_preprocessor') or {}).get('rgb_to_bgr'))
        image = file_like(self.recorder.fused[index][:, :height, :width], rgb)
        return packed(item, image, cfg['type'].split('.')[0], self.labels, self.proposals)


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two inputs are the same, up to :data:`TOLERANCE`."""
    return a.shape == b.shape and relative_difference(a, b) <= TOLERANCE


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the range of ``b``."""
    span = float(b.max() - b.min()) or 1.0
    return float((a - b).abs().max()) / span


def compare_inputs(call: Call, own: Tensor) -> Tuple[float, List[str]]:
    """Relative difference of the inputs of a call, and what is wrong with it."""
    if call.inputs.shape != own.shape:
        return float('inf'), [f'{call.mode}: inputs are {tuple(call.inputs.shape)}, its own {tuple(own.shape)}']
    difference = relative_difference(call.inputs, own)
    return difference, [] if difference <= TOLERANCE else [f'{call.mode}: inputs differ by {difference:.1e} of their range']


def compare_samples(ours: Sequence, own: Sequence, labels: Sequence[str], training: bool) -> List[str]:
    """Labels and meta information that differ."""
    found = []
    for index, (a, b) in enumerate(zip(ours, own)):
        for name in META:
            if name in b and tuple(a.get(name, ())) != tuple(b.get(name)):
                found.append(f'{name} of picture {index} is {a.get(name)}, its own {b.get(name)}')
        if training:
            mine, theirs = label_arrays(a, labels), label_arrays(b, labels)
            if missing := set(theirs) - set(mine):
                found.append(f'picture {index} lacks {sorted(missing)}')
            found += [
                f'{name} of picture {index} differ'
                for name in set(mine) & set(theirs)
                if not np.array_equal(mine[name], theirs[name])
            ]
    return found


def prediction_arrays(sample) -> Dict[str, np.ndarray]:
    """Everything that was predicted for a picture, by name."""
    arrays = {}
    for field in PREDICTION_FIELDS:
        for key, value in (sample.get(field).items() if field in sample else ()):
            value = getattr(value, 'tensor', value)
            arrays[f'{field}.{key}'] = np.asarray(value.cpu() if isinstance(value, Tensor) else value)
    return arrays


def similar(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two predictions are the same up to rounding."""
    return a.shape == b.shape and np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-4, atol=1e-3)


def label_arrays(sample, labels: Sequence[str]) -> Dict[str, np.ndarray]:
    """All labels of a data sample by name; what ``labels`` does not name is left out."""
    arrays = {}
    for field in ('gt_instances', 'ignored_instances', 'proposals'):
        for key, value in (sample.get(field).items() if field in sample else ()):
            value = value.to_ndarray() if hasattr(value, 'to_ndarray') else getattr(value, 'tensor', value)
            arrays[f'{field}.{key}'] = np.asarray(value)
    for field in ('gt_sem_seg', 'gt_edge_map'):
        if field in labels and field in sample:
            for key, value in sample.get(field).items():
                arrays[f'{field}.{key}'] = np.asarray(value)
    return arrays
