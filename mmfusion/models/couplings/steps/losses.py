"""Named losses of a coupling, and the labels that fusion losses may use."""

from typing import Dict, List, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.structures import FusionDataSample, Window, fusion_task, valid_window
from mmfusion.utils.renamed import FORMER_TASK, FUSION_TASK

Losses = Dict[str, Union[Tensor, List[Tensor]]]


def prefixed(prefix: str, losses: Losses, weight: float = 1.0) -> Losses:
    """Put ``prefix`` before every name and ``weight`` on every loss; other logged values (accuracy) stay as they are.

    Examples:
        >>> prefixed('det', dict(loss_cls=torch.tensor(2.), acc=torch.tensor(90.)), 0.5)
        {'det.loss_cls': tensor(1.), 'det.acc': tensor(90.)}
    """

    def scaled(value):
        return [item * weight for item in value] if isinstance(value, (list, tuple)) else value * weight

    return {f'{prefix}.{name}': scaled(value) if 'loss' in name else value for name, value in losses.items()}


def loss_context(data_samples: Sequence[FusionDataSample]) -> Dict[str, object]:
    """Labels that fusion losses may use.

    Returns:
        dict: ``boxes``, a list of N tensors (n, 4), xyxy in pixels of the batch, when every sample has objects
        annotated; ``seg``, (N, H, W) class indices, when every sample has a class map; ``fusion_task``, its name, when
        all samples name the same, a tuple of names when they differ (``task`` is its former name, for one version
        more).
    """
    context: Dict[str, object] = {}
    task = fusion_task(data_samples)
    if task is not None:
        context[FUSION_TASK] = context[FORMER_TASK] = task
    if all('gt_instances' in sample for sample in data_samples):
        context['boxes'] = [sample.gt_instances.bboxes for sample in data_samples]
    if all('gt_sem_seg' in sample for sample in data_samples):
        maps = [sample.gt_sem_seg.data.squeeze(0) for sample in data_samples]
        height, width = (max(seg.shape[axis] for seg in maps) for axis in (0, 1))  # of several sizes in tests
        context['seg'] = torch.stack(
            [F.pad(seg, (0, width - seg.shape[1], 0, height - seg.shape[0]), value=255) for seg in maps]
        )
    return context


def valid_windows(data_samples: Sequence[FusionDataSample]) -> Optional[List[Optional[Window]]]:
    """What fusion losses look at of each picture (None: all of it); None when that is all of every picture."""
    windows = [valid_window(sample.valid_map.data) if 'valid_map' in sample else None for sample in data_samples]
    return windows if any(window is not None for window in windows) else None
