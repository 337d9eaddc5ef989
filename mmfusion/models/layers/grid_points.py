"""Features side by side, as the images of a batch one by one and on a coarse grid, with one gradient for both."""

from typing import Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from mmfusion.utils.compat import traced

#: Values in a batch from which passes over all of them cost more than the calls to reach its parts and points.
_LARGE = 1 << 18
#: Rows of pixels that are split into their parts while they are in the cache.
_ROWS = 48


def images_and_grid(parts: Sequence[Tensor], grid: Tuple[int, int]) -> Tuple[Tuple[Tensor, ...], Tensor]:
    """``x = torch.cat(parts, 1)``, as ``x.split(1)`` and
    ``F.interpolate(x, grid, mode='bilinear', align_corners=True)``.

    PyTorch makes the gradient of few points a batch of zeros as large as ``x``, adds it to that of the images, and
    hands each part a view that lies scattered in memory, which every operation behind then reads. On a CPU, in
    ``channels_last``, the gradient of each part of a large batch is written once, and that of the points is added where
    they lie. Derivatives of higher order, and all else, take PyTorch's.

    Args:
        parts: (N, c, H, W) each, floating, C channels together.
        grid: (h, w) of the points, from corner to corner.

    Returns:
        tuple: N images (1, C, H, W), and the points (N, C, h, w).

    Examples:
        >>> images, points = images_and_grid([torch.arange(25.).view(1, 1, 5, 5)], (2, 3))
        >>> len(images), points[0, 0].tolist()
        (1, [[0.0, 2.0, 4.0], [20.0, 22.0, 24.0]])
    """
    large = sum(part.numel() for part in parts) >= _LARGE and len({part.dtype for part in parts}) == 1
    inner = all(part.device.type == 'cpu' and part.is_contiguous(memory_format=torch.channels_last) for part in parts)
    learns = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    if large and inner and learns and not traced():
        points, *images = _ImagesAndGrid.apply(tuple(grid), *parts)
        return tuple(images), points
    x = torch.cat(list(parts), dim=1) if len(parts) > 1 else parts[0]
    return x.split(1), _points(x, grid)


def _points(x: Tensor, grid: Tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=tuple(grid), mode='bilinear', align_corners=True)


class _ImagesAndGrid(Function):
    """Linear in the parts."""

    @staticmethod
    def forward(grid: Tuple[int, int], *parts: Tensor) -> Tuple[Tensor, ...]:
        x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return (_points(x, grid), *x.split(1))

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple) -> None:
        parts = inputs[1:]
        ctx.channels, ctx.count, ctx.size = [part.shape[1] for part in parts], len(parts[0]), parts[0].shape[-2:]

    @staticmethod
    def backward(ctx, points: Tensor, *images: Tensor) -> tuple:
        shape = (ctx.count, sum(ctx.channels), *ctx.size)
        if torch.is_grad_enabled():  # will be differentiated itself
            grid = list(points.shape[-2:])
            spread = torch.ops.aten.upsample_bilinear2d_backward(points, grid, list(shape), True, None, None)
            return (None, *(torch.cat(images) + spread).split(ctx.channels, dim=1))
        height, width = ctx.size
        grads = [points.new_empty(ctx.count, height, width, number) for number in ctx.channels]
        for index, image in enumerate(images):
            pixels = image[0].permute(1, 2, 0)  # (H, W, C)
            for start in range(0, height, _ROWS if len(grads) > 1 else height):
                rows = slice(start, start + _ROWS if len(grads) > 1 else height)
                for grad, values in zip(grads, pixels[rows].split(ctx.channels, dim=-1)):
                    grad[index, rows].copy_(values)
        place, shares = _spread(points.permute(0, 2, 3, 1), height, width)
        for grad, share in zip(grads, shares.split(ctx.channels, dim=-1)):
            grad.index_put_(place, share, accumulate=True)
        return (None, *(grad.permute(0, 3, 1, 2) for grad in grads))


def _spread(points: Tensor, height: int, width: int) -> Tuple[Tuple[Tensor, Tensor, Tensor], Tensor]:
    """Indices (image, row, column) of the four pixels around each point, and what they get of its (N, h, w, C), (N, 4,
    h, w, C).
    """
    rows, row_parts = _neighbors(height, points.shape[1], points)
    columns, column_parts = _neighbors(width, points.shape[2], points)
    image = torch.arange(len(points))[:, None, None, None]
    row = rows.repeat_interleave(2, dim=0)[None, :, :, None]
    column = columns.repeat(2, 1)[None, :, None, :]
    part = row_parts.repeat_interleave(2, dim=0)[:, :, None] * column_parts.repeat(2, 1)[:, None, :]
    return (image, row, column), points[:, None] * part[None, ..., None]


def _neighbors(length: int, points: int, like: Tensor) -> Tuple[Tensor, Tensor]:
    """The two pixels between which each of some points on an axis lies, and what they have of it, (2, points) each."""
    step = (length - 1) / (points - 1) if points > 1 else 0.0
    place = torch.arange(points, dtype=like.dtype) * step
    lower = place.long().clamp_(max=length - 1)
    part = place - lower
    return torch.stack([lower, (lower + 1).clamp(max=length - 1)]), torch.stack([1 - part, part])
