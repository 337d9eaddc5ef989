"""Batches of pictures of several sizes: taken apart by size, and put together again.

A batch that the data preprocessor had to pad names the true sizes under ``inputs['sizes']``; without that key there is
no padding.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.structures import Window

Size = Tuple[int, int]
SIZES_KEY = 'sizes'


class SizeGroup(NamedTuple):
    """Pictures of one size.

    Attributes:
        indices: Their places in the batch of N.
        size: (height, width) without padding.
        corner: (top, left) of what counts of the pictures.
    """

    indices: List[int]
    size: Size
    corner: Size = (0, 0)

    def of(self, value: Any, number: int) -> Any:
        """The part of ``value`` that belongs to the group.

        Tensors (N, ..., H, W) lose the other pictures and the padding, lists and tuples of N entries the other entries
        (a tuple of N equal strings becomes the string); everything else stays as it is.
        """
        if isinstance(value, Tensor) and value.dim() >= 3 and len(value) == number:
            if len(self.indices) == number and tuple(value.shape[-2:]) == self.size:
                return value
            value = value if len(self.indices) == number else value[self.indices]
            (top, left), (height, width) = self.corner, self.size
            return value[..., top : top + height, left : left + width].contiguous()
        if isinstance(value, (list, tuple)) and len(value) == number:
            chosen = type(value)(value[index] for index in self.indices)
            return (
                chosen[0]
                if isinstance(chosen, tuple) and isinstance(chosen[0], str) and len(set(chosen)) == 1
                else chosen
            )
        return value


def size_groups(sizes: Sequence[Size]) -> List[SizeGroup]:
    """Pictures of equal size together, in the order in which the sizes appear.

    Examples:
        >>> size_groups([(20, 30), (16, 16), (20, 30)])
        [SizeGroup(indices=[0, 2], size=(20, 30), corner=(0, 0)), SizeGroup(indices=[1], size=(16, 16), corner=(0, 0))]
    """
    places: Dict[Size, List[int]] = {}
    for index, size in enumerate(sizes):
        places.setdefault(tuple(size), []).append(index)
    return [SizeGroup(indices, size) for size, indices in places.items()]


def valid_groups(sizes: Sequence[Size], windows: Sequence[Optional[Window]]) -> List[SizeGroup]:
    """Pictures of equal size and equal window together; those whose window is too small to be rated belong to none.

    Args:
        sizes: True (height, width) of each picture.
        windows: What counts of each; None is all of it.
    """
    places: Dict[Tuple[Size, Size], List[int]] = {}
    for index, (size, window) in enumerate(zip(sizes, windows)):
        if window is None:
            places.setdefault((tuple(size), (0, 0)), []).append(index)
        elif window.usable:
            places.setdefault(((window.height, window.width), (window.top, window.left)), []).append(index)
    return [SizeGroup(indices, *place) for place, indices in places.items()]


def put_together(groups: Sequence[SizeGroup], parts: Sequence[Tensor], full: Size) -> Tensor:
    """(n, C, h, w) of every group to one (N, C, H, W), zeros in the padding; gradients go back to the parts.

    Examples:
        >>> groups = size_groups([(1, 2), (1, 1)])
        >>> put_together(groups, [torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 1), 2.)], (1, 3)).tolist()
        [[[[1.0, 1.0, 0.0]]], [[[2.0, 0.0, 0.0]]]]
    """
    padded = torch.cat([F.pad(part, (0, full[1] - part.shape[-1], 0, full[0] - part.shape[-2])) for part in parts])
    order = [index for group in groups for index in group.indices]
    if order == sorted(order):
        return padded
    return padded[torch.as_tensor(order).argsort().to(padded.device)]


def average(groups: Sequence[SizeGroup], losses: Sequence[Dict[str, Tensor]]) -> Dict[str, Tensor]:
    """Losses of every group to those of the batch, each picture counting alike."""
    number = sum(len(group.indices) for group in groups)
    return {
        name: sum(loss[name] * (len(group.indices) / number) for group, loss in zip(groups, losses))
        for name in losses[0]
    }


def aligned_guidance(
    guidance: Sequence[Dict[str, Tensor]], groups: Sequence[SizeGroup], full: Size
) -> Dict[str, Tensor]:
    """Guidance maps of every group, (n, C, any, any), enlarged to the pictures and laid over the padded batch: (N, C,
    H, W).
    """
    return {
        key: put_together(
            groups,
            [
                F.interpolate(maps[key], size=group.size, mode='bilinear', align_corners=True)
                for maps, group in zip(guidance, groups)
            ],
            full,
        )
        for key in guidance[0]
    }


def padded_sizes(inputs: Dict[str, Any]) -> Optional[Tuple[Size, ...]]:
    """True sizes of the pictures of a padded batch, None where there is no padding."""
    return inputs.get(SIZES_KEY)
