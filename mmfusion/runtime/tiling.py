"""Large pictures in overlapping tiles, so that memory depends on the tile and not on the picture."""

from typing import Callable, Iterator, List, Tuple

import numpy as np

from mmfusion.utils.errors import InputError


def tile_starts(size: int, tile: int, overlap: int) -> List[int]:
    """First pixels of tiles along one side; all tiles are ``tile`` long, and neighbors share at least ``overlap`` pixels.

    Examples:
        >>> tile_starts(10, 4, 2), tile_starts(4, 8, 2)
        ([0, 2, 4, 6], [0])
    """
    if size <= tile:
        return [0]
    number = -(-(size - overlap) // (tile - overlap))
    return [round(index * (size - tile) / (number - 1)) for index in range(number)]


def ramp(length: int, overlap: int, before: bool, after: bool) -> np.ndarray:
    """Weight of a tile along one side: it falls smoothly towards the sides where a neighbor lies.

    Examples:
        >>> ramp(4, 2, True, False).round(2).tolist()
        [0.16, 0.84, 1.0, 1.0]
    """
    rise = ((np.arange(length, dtype=np.float32) + np.float32(0.5)) / max(overlap, 1)).clip(max=1)
    rise = rise * rise * (3 - 2 * rise)
    one = np.ones(length, np.float32)
    return (rise if before else one) * (rise[::-1] if after else one)


def check_tile(tile: int, overlap: int, smallest: int) -> None:
    """Raise an error where tiles of this size cannot be.

    Raises:
        ValueError: A tile is smaller than the network takes, or the overlap is no more than half of it.
    """
    if tile < smallest:
        raise InputError(f'tiles must have at least {smallest} pixels, got {tile}')
    if not 1 <= overlap <= tile // 2:
        raise InputError(f'the overlap must lie between 1 and half a tile ({tile // 2}), got {overlap}')


def run_tiled(
    run: Callable[[np.ndarray, np.ndarray], np.ndarray], first: np.ndarray, second: np.ndarray, tile: int, overlap: int
) -> np.ndarray:
    """Fuse tile by tile, and blend where tiles overlap.

    Args:
        run: Fuses two pictures (H, W, C) to one.
        first: (H, W, C).
        second: (H, W, C') of the same size.
        tile: Side of a tile.
        overlap: Pixels that neighbors share at least.

    Returns:
        The fused picture, of the type that ``run`` returns.
    """
    height, width = first.shape[:2]
    total = weights = kind = None
    for (top, bottom), (left, right), weight in _tiles((height, width), tile, overlap):
        part = run(first[top:bottom, left:right], second[top:bottom, left:right])
        if total is None:
            kind = part.dtype
            total = np.zeros((height, width, part.shape[2]), np.float32)
            weights = np.zeros((height, width, 1), np.float32)
        total[top:bottom, left:right] += part * weight
        weights[top:bottom, left:right] += weight
    total /= weights
    return total if kind != np.uint8 else np.floor(total + np.float32(0.5)).astype(np.uint8)


def _tiles(
    size: Tuple[int, int], tile: int, overlap: int
) -> Iterator[Tuple[Tuple[int, int], Tuple[int, int], np.ndarray]]:
    """Rows, columns and weight (h, w, 1) of each tile."""
    spans = []
    for length in size:
        starts, side = tile_starts(length, tile, overlap), min(tile, length)
        spans.append([(s, s + side, ramp(side, overlap, s > 0, s + side < length)) for s in starts])
    for top, bottom, along in spans[0]:
        for left, right, across in spans[1]:
            yield (top, bottom), (left, right), (along[:, None] * across)[..., None]
