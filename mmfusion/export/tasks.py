"""Task networks in a form that a graph can record: tensors in, tensors out."""

from typing import Dict, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.couplings import BaseCoupling, TaskNetwork
from mmfusion.models.layers.open_sizes import round_up
from mmfusion.utils import UserError

from .detectors import DetectionGraph

CLASS_MAP = 'class_map'
SMALLEST = 64  # height and width from which the networks below keep at least a pixel at their coarsest scale


class SegmentationGraph(nn.Module):
    """A segmentor on fused images, as ``mmfusion test`` runs it on pictures that are not resized.

    Args:
        task: The segmentor in its coupling.
        name: Its name there, for messages.

    Raises:
        UserError: It is tested in windows, or on pictures that are padded to a fixed size.
    """

    def __init__(self, task: TaskNetwork, name: str) -> None:
        super().__init__()
        network = task.network
        mode = network.test_cfg.get('mode', 'whole')
        if mode != 'whole':
            raise UserError(
                f'task {name!r} is tested in mode {mode!r}, and a graph sees the whole picture; '
                f"set test_cfg.mode = 'whole'"
            )
        padding = getattr(network.data_preprocessor, 'test_cfg', None) or {}
        if padding.get('size') is not None:
            raise UserError(
                f'task {name!r} pads pictures in tests to {padding["size"]}, and a graph is for all sizes; give '
                'data_preprocessor.test_cfg a size_divisor in the place of size'
            )
        self.task, self.divisor = task, padding.get('size_divisor') or 1

    def forward(self, image: Tensor) -> Tensor:
        """Fused pictures (N, 1 or 3, H, W) in [0, 1] to classes (N, H, W) uint8."""
        network, preprocessor = self.task.network, self.task.network.data_preprocessor
        x = image * 255
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        elif not self.task.takes_rgb:
            x = x.flip(1)
        if preprocessor._channel_conversion:
            x = x.flip(1)
        if preprocessor._enable_normalize:
            x = (x - preprocessor.mean) / preprocessor.std
        height, width = x.shape[-2:]
        if self.divisor > 1:
            below, right = (round_up(side, self.divisor) - side for side in (height, width))
            x = F.pad(x, (0, right, 0, below), value=preprocessor.pad_val)
        logits = network.encode_decode(x, [dict(img_shape=tuple(x.shape[-2:]))])[..., :height, :width]
        if logits.shape[1] == 1:
            return (logits.sigmoid() > network.decode_head.threshold)[:, 0].to(torch.uint8)
        return logits.argmax(1).to(torch.uint8)


def task_graphs(coupling: BaseCoupling, names: Sequence[str]) -> Dict[str, nn.Module]:
    """The task networks of these names as modules for a graph.

    Raises:
        UserError: There is no such task, one cannot be exported, or there are two of a kind.
    """
    unknown = sorted(set(names) - set(coupling.tasks))
    if unknown:
        raise UserError(f'the model has no task {", ".join(unknown)}; it has {", ".join(coupling.tasks) or "none"}')
    kinds = [coupling.tasks[name].kind for name in names]
    if len(set(kinds)) < len(kinds):
        raise UserError(f'one detector and one segmentor can be exported with a fuser, got {", ".join(names)}')
    forms = dict(detection=DetectionGraph, segmentation=SegmentationGraph)
    return {name: forms[kind](coupling.tasks[name], name) for name, kind in zip(names, kinds)}
