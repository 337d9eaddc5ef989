"""The part of a coupling that becomes a graph: pictures in, the fused picture out, color and padding included."""

from typing import Dict, Sequence

import torch
from torch import Tensor, nn

from mmfusion.evaluation.functional.common.grey import TIE
from mmfusion.models.couplings import BaseCoupling

from .detectors import BOXES, LABELS, SCORES, DetectionGraph
from .tasks import CLASS_MAP, task_graphs

FUSED, FLOATS = 'fused', 'fused_float'


class FusionGraph(nn.Module):
    """Pictures as files hold them to the fused picture, as :class:`~mmfusion.apis.FusionInferencer` makes it.

    Args:
        coupling: In eval mode.
        tasks: Names of task networks that look at the fused picture.

    Raises:
        UserError: A task network is missing or cannot be exported.
    """

    def __init__(self, coupling: BaseCoupling, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        self.coupling = coupling
        self.tasks = nn.ModuleDict(task_graphs(coupling, tasks))

    def forward(self, first: Tensor, second: Tensor) -> Dict[str, Tensor]:
        """Fuse.

        Args:
            first: (N, H, W, 1 or 3), gray or RGB, uint8 or float32 in [0, 1].
            second: Likewise, of the same N, H and W.

        Returns:
            dict: ``fused``, (N, H, W, 1 or 3) uint8, rounded as written pictures are, ``fused_float``, the same in [0,
            1], and with a segmentor ``class_map``, (N, H, W) uint8; with a detector ``boxes``, ``scores`` and
            ``labels``, see :class:`DetectionGraph`.
        """
        image = self.coupling.fuse(dict(first=to_planes(first), second=to_planes(second))).image
        image = image.float().clamp(0, 1)
        floats = image.flatten(2).transpose(1, 2).unflatten(1, image.shape[2:])
        outputs = {FUSED: (floats * 255 + (0.5 + TIE)).floor().to(torch.uint8), FLOATS: floats}
        for task in self.tasks.values():
            if isinstance(task, DetectionGraph):
                outputs.update(zip((BOXES, SCORES, LABELS), task(image)))
            else:
                outputs[CLASS_MAP] = task(image)
        return outputs


def to_planes(pixels: Tensor) -> Tensor:
    """(N, H, W, C) uint8 or float32 to (N, C, H, W) float32 in [0, 1]."""
    # not as one permutation: onnxruntime would move that behind the color conversion, and take the channels out of
    # interleaved pixels
    planes = pixels.flatten(1, 2).transpose(1, 2).unflatten(2, pixels.shape[1:3])
    return planes.to(torch.float32) / 255 if pixels.dtype == torch.uint8 else planes
