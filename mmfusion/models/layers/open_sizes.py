"""Extending and halving batches in a form that a graph can record for every size, without a branch on it."""

from typing import Callable, List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.utils.compat import exporting


def halves(x: Tensor) -> Tuple[Tensor, Tensor]:
    """Both halves of a batch of even length; ``chunk`` would fix the length in an exported graph."""
    number = x.shape[0] // 2  # len() would be a number of the graph
    return x[:number], x[number:]


def of_both(
    function: Callable[[Tensor], Sequence[Tensor]], first: Tensor, second: Tensor
) -> List[Tuple[Tensor, Tensor]]:
    """Pairs of what ``function`` makes of two batches (N, C, H, W).

    They go through it as one batch; in an export one after the other, since a graph would copy the features to take
    them apart again.

    Examples:
        >>> ((first, second),) = of_both(lambda x: [x + 1], torch.zeros(2, 1, 4, 5), torch.ones(2, 1, 4, 5))
        >>> first.max().item(), second.min().item()
        (1.0, 2.0)
    """
    if exporting():
        return list(zip(function(first), function(second)))
    return [halves(part) for part in function(torch.cat([first, second]))]


def round_up(size: int, multiple: int) -> int:
    """The next multiple.

    Examples:
        >>> round_up(17, 8), round_up(16, 8)
        (24, 16)
    """
    return (size + multiple - 1) // multiple * multiple


def repeat_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend (N, C, H, W) at the bottom and the right to multiples by its last row and column, as ``F.pad`` does in
    mode ``replicate``.

    Examples:
        >>> repeat_to_multiple(torch.arange(3.).view(1, 1, 1, 3), 2).tolist()
        [[[[0.0, 1.0, 2.0, 2.0], [0.0, 1.0, 2.0, 2.0]]]]
    """
    return _extend_to_multiple(image, multiple)


@torch.library.custom_op('mmfusion::extend', mutates_args=())
def _extend_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """An operation of its own, since a graph has one for it and torch's exporter would gather pixel by pixel."""
    below, right = (-size % multiple for size in image.shape[-2:])
    return F.pad(image, (0, right, 0, below), mode='replicate').clone()


@_extend_to_multiple.register_fake
def _(image: Tensor, multiple: int) -> Tensor:
    return image.new_empty(*image.shape[:2], *(round_up(size, multiple) for size in image.shape[-2:]))


def reflect(image: Tensor, border: Tuple[int, int, int, int]) -> Tensor:
    """Extend (N, C, H, W) by its mirror image as ``F.pad`` does; ``border`` is left, right, top, bottom, less than the
    image.

    Examples:
        >>> reflect(torch.arange(3.).view(1, 1, 1, 3), (1, 2, 0, 0)).flatten().tolist()
        [1.0, 0.0, 1.0, 2.0, 1.0, 0.0]
    """
    left, right, top, bottom = border
    height, width = image.shape[-2:]
    return _extend(
        image,
        [(-top, top + height + bottom), (-left, left + width + right)],
        lambda place, size: size - 1 - (size - 1 - place.abs()).abs(),
    )


def _extend(image: Tensor, axes: list, source: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Rows and columns from ``start`` on, ``length`` of them; ``source`` says which of the image each of them is."""
    for axis, (start, length) in zip((2, 3), axes):
        place = torch.arange(length, device=image.device) + start
        image = image.index_select(axis, source(place, image.shape[axis]))
    return image


def average_on_grid(x: Tensor, grid: Tuple[int, int]) -> Tensor:
    """``F.adaptive_avg_pool2d`` of (N, C, H, W) as two matrix products, since its cells depend on the size.

    Examples:
        >>> x = torch.rand(1, 2, 7, 11)
        >>> torch.allclose(average_on_grid(x, (3, 4)), torch.nn.functional.adaptive_avg_pool2d(x, (3, 4)))
        True
    """
    rows, columns = (cell_weights(size, cells, x) for size, cells in zip(x.shape[-2:], grid))
    return rows @ (x @ columns.t())


def cell_weights(size: int, cells: int, like: Tensor) -> Tensor:
    """(cells, size) matrix that averages each cell."""
    place = torch.arange(size, device=like.device)
    cell = torch.arange(cells, device=like.device)[:, None]
    start = torch.div(cell * size, cells, rounding_mode='floor')
    end = torch.div((cell + 1) * size + cells - 1, cells, rounding_mode='floor')
    inside = ((place >= start) & (place < end)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def point_weights(size: int, points: int, like: Tensor) -> Tensor:
    """(points, size) matrix that samples at points from end to end, linearly, as ``F.interpolate`` does with aligned
    corners.

    Examples:
        >>> point_weights(5, 3, torch.zeros(())).tolist()
        [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    step = (size - 1) / (points - 1) if points > 1 else 0.0
    place = torch.arange(points, dtype=like.dtype, device=like.device)[:, None] * step
    return (1 - (torch.arange(size, dtype=like.dtype, device=like.device) - place).abs()).clamp_min(0)
