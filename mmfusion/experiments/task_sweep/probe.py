"""A hook that looks at what a task network is fed in a real training, and what comes back to the fuser."""

import copy
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmcv.transforms import BaseTransform
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from torch import Tensor, nn

from mmfusion.fileio import write_json
from mmfusion.registry import HOOKS, METRICS, TRANSFORMS
from mmfusion.utils.random_state import random_state, set_random_state

from .compare import (
    compare_inputs,
    compare_samples,
    describe_prediction,
    equal,
    prediction_arrays,
    relative_difference,
    similar,
)
from .own_pipeline import file_like, packed, preprocessed, proposals


class Call:
    """One call of a task network.

    Attributes:
        inputs: (N, 3, H, W), what it was called with.
        samples: Copies of the data samples.
        backbone: What arrived at the first of its parts that looks at pictures.
    """

    def __init__(self, inputs: Tensor, samples: Sequence) -> None:
        self.inputs, self.samples = inputs.detach().clone(), copy.deepcopy(list(samples))
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
        inputs, samples = (*args, *kwargs.values())[:2]
        self.calls.append(Call(inputs, samples))

    def _see_part(self, module: nn.Module, args: tuple) -> None:
        if (
            self.calls
            and self.calls[-1].backbone is None
            and args
            and isinstance(args[0], Tensor)
            and args[0].dim() == 4
        ):
            self.calls[-1].backbone = args[0].detach().clone()


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
        losses = {
            name: float(torch.as_tensor(value).detach()) for name, value in (outputs or {}).items() if 'loss' in name
        }
        gradients = list(self.recorder.gradients.values())
        self.found['train'] = dict(
            loss=losses.get('loss'),
            losses=sorted(name for name in losses if name != 'loss'),
            gradient=float(torch.stack([grad.norm() for grad in gradients]).norm()) if gradients else 0.0,
            **self._compare(runner.train_dataloader.dataset, training=True),
        )
        self._reach('predict')

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Compare the prediction of one batch."""
        described = [describe_prediction(sample.to_dict()) for sample in outputs]
        first = sum(self.seen)
        self.seen.append(len(outputs))
        found = dict(
            fields=sorted({name for one in described for name in one['fields']}),
            faults=sorted({fault for one in described for fault in one['faults']}),
            **self._compare(runner.val_dataloader.dataset, training=False, outputs=outputs, first=first),
        )
        self.found['predict'] = joined(self.found.get('predict'), found)
        self._reach('end')

    def before_val(self, runner) -> None:
        """What the training fed is not that of the validation."""
        self.seen: List[int] = []
        self.recorder.forget()

    def _reach(self, stage: str) -> None:
        self.found['reached'] = stage
        write_json(self.path, self.found)

    def _compare(self, dataset, training: bool, outputs: Sequence = (), first: int = 0) -> dict:
        """Differences of all calls since the last look, from what the network's own pipeline makes of the pictures.

        ``outputs`` are compared with what the network predicts on the input of its own pipeline; ``first`` is the place
        of the first picture in the data set.
        """
        recorder, differences, largest, parts = self.recorder, [], 0.0, set()
        cfg, taken = self.network.built_from, 0
        kept = random_state()
        for call, state in zip(recorder.calls, recorder.states):
            indices = range(taken, taken + len(call.samples))
            taken += len(call.samples)
            set_random_state(state)
            own = preprocessed(cfg, [self._own_sample(dataset, first, index, cfg) for index in indices], training)
            largest = max(largest, relative_difference(call.inputs, own['inputs']))
            parts.add('none' if call.backbone is None else 'same' if equal(call.backbone, own['inputs']) else 'other')
            differences += compare_inputs(call.inputs, own['inputs'])
            differences += compare_samples(call.samples, own['data_samples'], self.labels, training)
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

    def _own_sample(self, dataset, first: int, index: int, cfg: dict) -> dict:
        part = dataset.datasets[first + index]
        item = part.get_data_info(0)
        height, width = item['height'], item['width']
        rgb = bool((cfg.get('data_preprocessor') or {}).get('rgb_to_bgr'))
        image = file_like(self.recorder.fused[index][:, :height, :width], rgb)
        return packed(item, image, cfg['type'].split('.')[0], self.labels, self.proposals)


def joined(before: Optional[dict], found: dict) -> dict:
    """What was found in several batches.

    Examples:
        >>> joined(dict(faults=['a'], difference=1.0), dict(faults=['b'], difference=0.5))
        {'faults': ['a', 'b'], 'difference': 1.0}
    """
    if before is None:
        return found
    return {
        key: sorted({*before[key], *value}) if isinstance(value, list) else max(before[key], value)
        for key, value in found.items()
    }
