"""Large pictures in overlapping tiles, so that memory depends on the tile and not on the picture."""

from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from mmfusion.utils.errors import InputError

from .metadata import GraphInfo

OVERLAP = 64  # where no overlap gives the result of the whole picture


class Cutting(NamedTuple):
    """How pictures are cut.

    Attributes:
        tile: Side of a tile.
        overlap: Pixels that neighbors share at least.
        margin: Pixels at the edges inside the picture that do not count, at most half of the overlap.
        multiple: Tiles start at multiples of this.
    """

    tile: int
    overlap: int
    margin: int = 0
    multiple: int = 1


def plan_cutting(tile: int, overlap: Optional[int], info: GraphInfo) -> Cutting:
    """How to cut pictures for a file.

    Args:
        tile: Side of a tile.
        overlap: Pixels. None for as many as the receptive field needs, which gives the result of the whole picture, and
            for :data:`OVERLAP` where the network looks at all of it.
        info: Of the file.

    Raises:
        ValueError: A tile is smaller than the network takes or the receptive field needs, or the overlap is more than
            half of it.
    """
    if tile < info.smallest:
        raise InputError(f'tiles must have at least {info.smallest} pixels, got {tile}')
    if overlap is None and info.reach is not None:
        least = 2 * info.reach + 2 + 2 * info.multiple
        if tile < least:
            raise InputError(
                f'the receptive field of {info.name} needs tiles of at least {least} pixels for the result of the '
                f'whole picture, got {tile}; give '
                'larger ones, or --overlap PIXELS for a result that is near it'
            )
        return Cutting(tile, 2 * info.reach + 1, info.reach, info.multiple)
    overlap = min(OVERLAP, tile // 2) if overlap is None else overlap
    if not 1 <= overlap <= tile // 2 or tile - overlap <= 2 * info.multiple:
        most = min(tile // 2, tile - 2 * info.multiple - 1)
        raise InputError(f'the overlap of tiles of {tile} pixels must lie between 1 and {most}, got {overlap}')
    return Cutting(tile, overlap, 0, info.multiple)


def tile_starts(size: int, cutting: Cutting) -> Tuple[List[int], int]:
    """First pixels of tiles along one side, and their length; neighbors share at least the overlap.

    Examples:
        >>> tile_starts(10, Cutting(4, 2)), tile_starts(4, Cutting(8, 2))
        (([0, 2, 4, 6], 4), ([0], 4))
        >>> tile_starts(41, Cutting(24, 5, 2, multiple=4))
        ([0, 8, 20], 21)
    """
    tile, multiple = cutting.tile - (cutting.tile - size) % cutting.multiple, cutting.multiple
    if size <= tile:
        return [0], size
    shared = cutting.overlap + (
        multiple if multiple > 1 else 0
    )  # rounding moves neighbors apart by less than a multiple
    number = -(-(size - shared) // (tile - shared))
    return [round(index * (size - tile) / (number - 1) / multiple) * multiple for index in range(number)], tile


def ramp(length: int, cutting: Cutting, before: bool, after: bool) -> np.ndarray:
    """Weight of a tile along one side: it falls smoothly towards the sides where a neighbor lies.

    Examples:
        >>> ramp(4, Cutting(4, 2), True, False).round(2).tolist()
        [0.16, 0.84, 1.0, 1.0]
    """
    place = np.arange(length, dtype=np.float32) + np.float32(0.5)
    rise = ((place - cutting.margin) / max(cutting.overlap - 2 * cutting.margin, 1)).clip(0, 1)
    rise = rise * rise * (3 - 2 * rise)
    one = np.ones(length, np.float32)
    return (rise if before else one) * (rise[::-1] if after else one)


def run_tiled(
    run: Callable[[np.ndarray, np.ndarray], np.ndarray], first: np.ndarray, second: np.ndarray, cutting: Cutting
) -> np.ndarray:
    """Fuse tile by tile, and blend where tiles overlap.

    Args:
        run: Fuses two pictures (H, W, C) to one.
        first: (H, W, C).
        second: (H, W, C') of the same size.
        cutting: From :func:`plan_cutting`.

    Returns:
        The fused picture, of the type that ``run`` returns.
    """
    height, width = first.shape[:2]
    total = weights = kind = None
    for (top, bottom), (left, right), weight in _tiles((height, width), cutting):
        part = run(first[top:bottom, left:right], second[top:bottom, left:right])
        if total is None:
            kind = part.dtype
            total = np.zeros((height, width, part.shape[2]), np.float32)
            weights = np.zeros((height, width, 1), np.float32)
        total[top:bottom, left:right] += part * weight
        weights[top:bottom, left:right] += weight
    total /= weights
    return total if kind != np.uint8 else np.floor(total + np.float32(0.5)).astype(np.uint8)


def _tiles(size: Tuple[int, int], cutting: Cutting) -> Iterator[Tuple[Tuple[int, int], Tuple[int, int], np.ndarray]]:
    """Rows, columns and weight (h, w, 1) of each tile."""
    spans = []
    for length in size:
        starts, side = tile_starts(length, cutting)
        spans.append([(s, s + side, ramp(side, cutting, s > 0, s + side < length)) for s in starts])
    for top, bottom, along in spans[0]:
        for left, right, across in spans[1]:
            yield (top, bottom), (left, right), (along[:, None] * across)[..., None]
