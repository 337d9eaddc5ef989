"""Tiles of an image and their blending: images of any size through a network that wants pieces of limited size."""

from typing import Iterable, List, NamedTuple, Tuple

import torch
from torch import Tensor

from mmfusion.utils.compat import exporting


def reflect_to(image: Tensor, height: int, width: int) -> Tensor:
    """Extend an image (N, C, H, W) at the bottom and the right by its mirror image, as often as needed. The last row is
    not repeated.

    Examples:
        >>> reflect_to(torch.arange(3.).view(1, 1, 1, 3).expand(1, 1, 3, 3), 3, 8)[0, 0, 0].tolist()
        [0.0, 1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0]
    """
    for axis, size in ((2, height), (3, width)):
        last = image.shape[axis] - 1
        if exporting() or size > last + 1:
            place = torch.arange(size, device=image.device) % (2 * last)
            image = image.index_select(axis, last - (place - last).abs())
    return image


class Axis(NamedTuple):
    """Tiles along one side of an image.

    Attributes:
        starts: First pixel of each tile.
        weights: (tiles, tile) share of each tile in the pixels that it covers; the shares of a pixel sum to 1.
    """

    starts: List[int]
    weights: Tensor


def plan_axis(size: int, tile: int, overlap: int, margin: int = 0, multiple: int = 1) -> Axis:
    """Lay tiles along a side.

    Args:
        size: Length of the side.
        tile: Length of a tile; a shorter side is one tile. With ``multiple`` tiles may be shorter by less than that.
        overlap: Pixels that neighbors share at least. The share of a tile falls smoothly to 0 towards its edges inside
            the image. With 0 tiles stand beside each other, the last one moved back to end with the image, and where
            two overlap the later one counts alone, as published.
        margin: Pixels at each edge inside the image that do not count at all; at most half of ``overlap``.
        multiple: Tiles start at multiples of this, for networks whose result is the same only after such shifts.

    Examples:
        >>> plan_axis(10, 4, 2).starts, plan_axis(10, 4, 0).starts
        ([0, 2, 4, 6], [0, 4, 6])
        >>> plan_axis(9, 6, 4, margin=2).weights.tolist()[0]
        [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    tile -= (tile - size) % multiple
    if size <= tile:
        return Axis([0], torch.ones(1, size))
    if overlap == 0:
        starts = [*range(0, size - tile, tile), size - tile]
        ends = [*starts[1:], size]
        place = torch.arange(tile)
        return Axis(starts, torch.stack([(place < end - start).float() for start, end in zip(starts, ends)]))
    shared = overlap + (multiple if multiple > 1 else 0)  # rounding moves neighbors apart by less than a multiple
    number = -(-(size - shared) // (tile - shared))
    starts = [round(k * (size - tile) / (number - 1) / multiple) * multiple for k in range(number)]
    place = torch.arange(tile, dtype=torch.float64) + 0.5
    rise = ((place - margin) / max(overlap - 2 * margin, 1)).clamp(0, 1)
    rise = rise * rise * (3 - 2 * rise)  # smooth at both ends
    weights = torch.ones(number, tile, dtype=torch.float64)
    weights[1:] *= rise
    weights[:-1] *= rise.flip(0)
    total = torch.zeros(size, dtype=torch.float64)
    for start, weight in zip(starts, weights):
        total[start : start + tile] += weight
    return Axis(
        starts, torch.stack([weight / total[start : start + tile] for start, weight in zip(starts, weights)]).float()
    )


def cut(image: Tensor, rows: Axis, columns: Axis) -> List[Tensor]:
    """Tiles (N, C, h, w) of an image (N, C, H, W), row by row. They are views: nothing is copied."""
    height, width = rows.weights.shape[1], columns.weights.shape[1]
    return [image[..., y : y + height, x : x + width] for y in rows.starts for x in columns.starts]


def blend(tiles: Iterable[Tensor], rows: Axis, columns: Axis, size: Tuple[int, int]) -> Tensor:
    """Tiles, each (N, C, h, w) in the order of :func:`cut`, to an image (N, C, H, W). They are taken one by one and not
    kept.
    """
    places = ((y, x, v, u) for y, v in zip(rows.starts, rows.weights) for x, u in zip(columns.starts, columns.weights))
    image = None
    for tile, (y, x, v, u) in zip(tiles, places):
        if image is None:
            image = tile.new_zeros(*tile.shape[:2], *size)
        weight = (v[:, None] * u).to(tile)
        image[..., y : y + len(v), x : x + len(u)] += tile * weight
    return image
