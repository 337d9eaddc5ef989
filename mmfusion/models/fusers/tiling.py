"""Fusing large images in tiles: where they lie, how large they may be, and putting them together."""

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers.tiles import Axis, blend, cut, plan_axis
from mmfusion.models.layers.whole_picture import Part, PictureStatistics
from mmfusion.utils.errors import InputError
from mmfusion.utils.memory_use import available_memory, peak_tensor_bytes
from mmfusion.utils.progress import progress_bar

if TYPE_CHECKING:
    from .base import BaseFuser

TileLike = Union[None, str, Sequence[int]]
AUTO = 'auto'

#: Part of the free memory that ``'auto'`` lets the features of a tile take, and the most that they may take whatever is
#: free. Larger tiles gain little: at this size the shipped fusers compute up to a third twice.
SHARE, MOST_BYTES = 0.5, 768 * 2**20
#: What a tile takes at most, over the bytes of its tensors: the insides of operations and what the allocator keeps.
#: Measured: benchmarks/tiles.py.
INSIDES = 1.5
#: Sides of the sources that the need of a fuser for memory is measured with, and the step in which 'auto' chooses the
#: side of a tile.
PROBES, STEP = (128, 192), 64
#: Of a fuser that sees the whole image, sums aside: pixels at the edge of a tile that do not count, and the largest
#: width of the blending behind them.
CONTEXT, BLEND = 16, 128

#: The largest change of a sum over the picture, by its largest value, that is none. Results are those of the whole
#: picture within 1e-5 then.
SETTLED = 1e-4

_shown: ContextVar[bool] = ContextVar('shown', default=False)
_watcher: ContextVar[Optional[Callable[[int, int], None]]] = ContextVar('watcher', default=None)


class Tiling(NamedTuple):
    """How a fuser cuts images.

    Attributes:
        tile: (height, width) of the pieces that the network sees, or ``'auto'``: what fits into memory.
        overlap: Pixels that neighbors share and that are blended; None leaves that to the receptive field of the fuser.
        batch: Tiles that run at once.
    """

    tile: Union[str, Tuple[int, int]]
    overlap: Optional[int] = None
    batch: int = 1


def check_tile(tile: TileLike) -> Union[None, str, Tuple[int, int]]:
    """A size of tiles as its users may write it: None, ``'auto'`` or (height, width).

    Raises:
        InputError: It is none of these.

    Examples:
        >>> check_tile([512, 768])
        (512, 768)
    """
    if tile is None or (isinstance(tile, str) and tile == AUTO):
        return tile
    if (
        isinstance(tile, (list, tuple))
        and len(tile) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in tile)
    ):
        return int(tile[0]), int(tile[1])
    raise InputError(f"tile must be None, 'auto' or (height, width) in pixels, got {tile!r}")


@contextlib.contextmanager
def show_tiles(shown: bool = True) -> Iterator[None]:
    """Context in which a progress bar counts the tiles of each batch that is cut."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


@contextlib.contextmanager
def watch_tiles(watcher: Callable[[int, int], None]) -> Iterator[None]:
    """Context in which a function hears of every tile of a batch that is cut: how many are done, and how many there
    are. Looks for sums over the
    picture count from the beginning each.

    Args:
        watcher: Called with both numbers, at first with 0 done.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Cut(NamedTuple):
    """Tiles of one image.

    Attributes:
        rows: Where they lie along its height.
        columns: Likewise along its width.
        multiple: They start at multiples of this.
        sums: How many sums over the whole picture its network asks for.
    """

    rows: Axis
    columns: Axis
    multiple: int = 1
    sums: int = 0

    @property
    def number(self) -> int:
        """How many tiles there are."""
        return len(self.rows.starts) * len(self.columns.starts)

    def parts(self, size: Tuple[int, int]) -> List[Part]:
        """The parts of the tiles that count in sums over an image of a size; they lie side by side."""
        tile = self.rows.weights.shape[1], self.columns.weights.shape[1]
        along, across = (
            _spans(axis.starts, side, self.multiple) for axis, side in zip((self.rows, self.columns), tile)
        )
        return [
            Part(rows, columns, (y, x), tile, size)
            for y, rows in zip(self.rows.starts, along)
            for x, columns in zip(self.columns.starts, across)
        ]


def _spans(starts: List[int], side: int, multiple: int) -> List[Tuple[int, int]]:
    """First and last + 1 pixel of each tile's part, in the tile: up to the middle of what it shares with its neighbors.

    Examples:
        >>> _spans([0, 6, 12], 10, 1), _spans([0, 8], 12, 4)
        ([(0, 8), (2, 8), (2, 10)], [(0, 8), (0, 12)])
    """
    middles = [(start + after + side) // 2 // multiple * multiple for start, after in zip(starts[:-1], starts[1:])]
    return [
        (begin - start, end - start) for start, begin, end in zip(starts, [0, *middles], [*middles, starts[-1] + side])
    ]


def plan_cut(fuser: 'BaseFuser', first: Tensor) -> Optional[Cut]:
    """Where the tiles of a batch (N, C, H, W) lie; None where the fuser sees it whole.

    Raises:
        InputError: The tiles are so small that little would be left of them without their borders.
    """
    tiling, size = fuser.tiling, tuple(first.shape[-2:])
    if tiling is None or fuser.training:
        return None
    reach, sums = fuser.reach_at(*size), 0
    if reach is None:
        sums, reach = fuser.held_reach()
    multiple = fuser.tile_multiple()
    tile = tiling.tile
    if isinstance(tile, str):
        smallest = max(2 * least_side(reach, multiple), STEP * 2)
        tile = auto_tile(fuser, first, smallest)
    if size[0] <= tile[0] and size[1] <= tile[1]:
        return None
    axes = []
    for length, side in zip(size, tile):
        if tiling.overlap is not None:
            least, (margin, overlap) = tiling.overlap + 1, (0, tiling.overlap)
        else:
            least, (margin, overlap) = least_side(reach, multiple), borders(reach, side)
        if length > side and side < least:
            raise InputError(
                f'{type(fuser).__name__}: tiles of {tile[0]}x{tile[1]} pixels are too small; '
                f'{"their blending" if reach is None else "the receptive field"} needs sides of at least '
                f'{least} pixels. '
                "Give larger ones, or tile='auto'"
            )
        axes.append(plan_axis(length, side, overlap, margin, multiple))
    return Cut(*axes, multiple, sums)


def borders(reach: Optional[int], side: int) -> Tuple[int, int]:
    """Pixels at an edge of a tile that do not count, and pixels that neighbors share.

    Args:
        reach: Pixels to each side that a result depends on; None for all of the image.
        side: Of the tile.
    """
    if reach is not None:
        return reach, 2 * reach + 1
    return CONTEXT, 2 * CONTEXT + min(BLEND, side // 4)


def least_side(reach: Optional[int], multiple: int) -> int:
    """Smallest side of a tile of which something is left."""
    return 4 * CONTEXT + multiple if reach is None else 2 * reach + 2 + 2 * multiple


def auto_tile(fuser: 'BaseFuser', first: Tensor, smallest: int) -> Tuple[int, int]:
    """(height, width) of the largest tiles of a batch that fit into memory: the whole image, or squares.

    Args:
        fuser: In eval mode.
        first: The batch (N, C, H, W).
        smallest: Side that is taken even where it does not fit.
    """
    budget = min(SHARE * available_memory(first.device), MOST_BYTES)
    fixed, of_pixel = fuser.memory_need(first)
    pixels = (budget / INSIDES - fixed) / (of_pixel * len(first))
    height, width = first.shape[-2:]
    if height * width <= pixels:
        return height, width
    side = max(smallest, int(max(pixels, 1) ** 0.5) // STEP * STEP)
    return side, side


@torch.no_grad()
def measure_need(fuser: 'BaseFuser', first: Tensor) -> Tuple[float, float]:
    """Bytes of tensors that a fuser takes for any image, and for each pixel of one image, measured on two small ones.

    Args:
        fuser: In eval mode.
        first: Images of the kind and type that it will fuse, (N, C, H, W).
    """
    multiple = fuser.tile_multiple()
    sides = [-(-side // multiple) * multiple for side in PROBES]
    if sides[0] == sides[1]:
        sides[1] += multiple
    found = []
    for side in sides:
        sources = [torch.rand(1, first.shape[1], side, side, dtype=first.dtype, device=first.device) for _ in range(2)]
        found.append(peak_tensor_bytes(lambda sources=sources: fuser.fuse(*sources)))
    slope = (found[1] - found[0]) / (sides[1] ** 2 - sides[0] ** 2)
    slope = max(slope, found[1] / sides[1] ** 2 / 2)  # a part that does not grow must not hide one that does
    return max(0.0, found[0] - slope * sides[0] ** 2), slope


def fuse_tiles(fuser: 'BaseFuser', cutting: Cut, first: Tensor, second: Tensor, extra: Dict[str, object]) -> Tensor:
    """The fused batch (N, C, H, W), tile by tile. Maps of guidance of the size of the sources are cut as these are.

    Args:
        fuser: In eval mode.
        cutting: From :func:`plan_cut`.
        first: First source, (N, C, H, W).
        second: Second source, the same N, H and W.
        extra: Guidance and options.
    """
    size, axes = tuple(first.shape[-2:]), (cutting.rows, cutting.columns)
    maps = {
        key: cut(value, *axes)
        for key, value in extra.items()
        if isinstance(value, Tensor) and value.dim() == 4 and tuple(value.shape[-2:]) == size
    }
    pieces = cut(first, *axes), cut(second, *axes)
    batch, watcher = 1 if cutting.sums else fuser.tiling.batch, _watcher.get() or (lambda done, number: None)

    def fuse(group: slice) -> Tensor:
        of_tile = {**extra, **{key: _together(parts[group]) for key, parts in maps.items()}}
        return fuser.fuse(*(_together(parts[group]) for parts in pieces), **of_tile).fused

    def tiles() -> Iterator[Tensor]:
        with progress_bar(cutting.number, 'tiles', shown=_shown.get()) as bar:
            watcher(0, cutting.number)
            for start in range(0, cutting.number, batch):
                with statistics.hold(counted[start]) if cutting.sums else contextlib.nullcontext():
                    fused = fuse(slice(start, start + batch))
                yield from fused.split(len(first))
                bar.update(len(fused) // len(first))
                watcher(min(start + batch, cutting.number), cutting.number)

    if cutting.sums:
        counted, statistics = cutting.parts(size), PictureStatistics()
        with torch.no_grad():
            _first_look(fuser, statistics, cutting, first, second, extra, maps)
            _look(fuse, statistics, counted, watcher)
    return blend(tiles(), *axes, size)


def _first_look(
    fuser: 'BaseFuser',
    statistics: PictureStatistics,
    cutting: Cut,
    first: Tensor,
    second: Tensor,
    extra: dict,
    maps: dict,
) -> None:
    """Sums over the picture at the size of a tile, to begin with."""
    tile = cutting.rows.weights.shape[1], cutting.columns.weights.shape[1]
    scale = min(1.0, *(side / whole for side, whole in zip(tile, first.shape[-2:])))
    sides = [
        max(round(scale * whole) // cutting.multiple, -(-16 // cutting.multiple)) * cutting.multiple
        for whole in first.shape[-2:]
    ]
    small = {key: F.interpolate(extra[key], sides, mode='area') for key in maps}
    with statistics.begin(*sides):
        fuser.fuse(*(F.interpolate(image, sides, mode='area') for image in (first, second)), **{**extra, **small})


def _look(
    fuse: Callable[[slice], Tensor],
    statistics: PictureStatistics,
    parts: List[Part],
    watcher: Callable[[int, int], None],
) -> None:
    """Sums over the picture from all of its tiles, again until they are those of the whole picture: after as many looks
    as there are sums at most.
    """
    for look in range(len(statistics.known)):
        with progress_bar(len(parts), f'looking at all tiles ({look + 1})', shown=_shown.get()) as bar:
            for index, part in enumerate(parts):
                with statistics.collect(part):
                    fuse(slice(index, index + 1))
                bar.update()
                watcher(index + 1, len(parts))
        if statistics.settle(SETTLED):
            return


def _together(tiles: List[Tensor]) -> Tensor:
    return tiles[0].contiguous() if len(tiles) == 1 else torch.cat(tiles)
