"""Sums over a whole picture of which a network sees one tile at a time.

A network that takes a mean, a norm, a histogram or products between channels over its picture asks for them here.
Outside of tiles these functions are the plain ones. While a picture is fused in tiles, each tile gives the sum over its
own part, and all tiles use what the whole picture has: then they agree where they meet, as those of a network of finite
reach do.
"""

import contextlib
from contextvars import ContextVar
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.utils.compat import traced

from .open_sizes import cell_weights, point_weights

Join = Callable[[Tensor, Tensor], Tensor]


class Part(NamedTuple):
    """What of a tile counts in sums over the picture: parts of all tiles lie side by side and fill it.

    Attributes:
        rows: First and last + 1 row of the part in the tile.
        columns: Likewise.
        place: Row and column of the tile in the picture.
        tile: (height, width) of the tile.
        size: (height, width) of the picture.
    """

    rows: Tuple[int, int]
    columns: Tuple[int, int]
    place: Tuple[int, int]
    tile: Tuple[int, int]
    size: Tuple[int, int]

    @classmethod
    def whole(cls, height: int, width: int) -> 'Part':
        """All of a picture that is not cut."""
        return cls((0, height), (0, width), (0, 0), (height, width), (height, width))

    def slices(self, height: int, width: int) -> Tuple[slice, slice]:
        """Rows and columns of the part in features of a size, which may be smaller than the tile by a whole factor.

        Examples:
            >>> Part((2, 8), (0, 6), (0, 0), (8, 8), (8, 14)).slices(4, 4)
            (slice(1, None, None), slice(0, 3, None))
        """
        found = []
        for (start, stop), side, length in zip((self.rows, self.columns), self.tile, (height, width)):
            factor = max(1, round(side / length))
            found.append(
                slice(start // factor, None if stop == side else stop // factor)
            )  # padding counts, as it does in the whole
        return found[0], found[1]

    def crop(self, x: Tensor) -> Tensor:
        """The part of features (N, C, H, W)."""
        rows, columns = self.slices(*x.shape[-2:])
        return x[..., rows, columns]


class LastStatistic(Exception):
    """All sums of a tile were taken; what the network makes of them is not asked for."""


class PictureStatistics:
    """Sums over a picture, in the order in which its network asks for them.

    They are found by steps: first a network sees the picture reduced (:meth:`begin`), then all tiles with those sums,
    which gives sums of the tiles (:meth:`collect`), until they settle (:meth:`settle`). After each step one sum more at
    least is that of the whole picture, since it depends on the ones before it alone.

    Attributes:
        known: The sums as they are known so far.
    """

    def __init__(self) -> None:
        self.known: List[Tensor] = []
        self._part: Optional[Part] = None
        self._sums: Optional[List[Optional[Tensor]]] = None
        self._next, self._first = 0, False

    @contextlib.contextmanager
    def begin(self, height: int, width: int) -> Iterator[None]:
        """Context in which the network sees the picture at once, of a size."""
        self.known, self._first = [], True
        with self._use(Part.whole(height, width)):
            yield
        self._first = False

    @contextlib.contextmanager
    def collect(self, part: Part) -> Iterator[None]:
        """Context in which the network sees a tile, whose sums are added. It is left as soon as the last one is
        known.
        """
        self._sums = self._sums or [None] * len(self.known)
        with self._use(part), contextlib.suppress(LastStatistic):
            yield

    @contextlib.contextmanager
    def hold(self, part: Part) -> Iterator[None]:
        """Context in which the network sees a tile and uses what is known."""
        with self._use(part):
            yield

    def settle(self, tolerance: float) -> bool:
        """Take the sums of all tiles for known. Whether they are those of the whole picture now: none before the last
        one has changed.

        Args:
            tolerance: Largest change, by the largest value, that is none.
        """
        changed = [_change(new, old) > tolerance for new, old in zip(self._sums, self.known)]
        self.known, self._sums = self._sums, None
        return not any(changed[:-1])

    @contextlib.contextmanager
    def _use(self, part: Part) -> Iterator[None]:
        self._part, self._next = part, 0
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def take(self, value: Tensor, join: Join) -> Tensor:
        """Note what a part has, and give what the picture has."""
        index = self._next
        self._next += 1
        if self._first:
            self.known.append(value)
            return value
        if self._sums is not None:
            before = self._sums[index]
            self._sums[index] = value if before is None else join(before, value)
            if self._next == len(self.known):
                raise LastStatistic
        return self.known[index]


_current: ContextVar[Optional[PictureStatistics]] = ContextVar('current', default=None)


def tile_part() -> Optional[Part]:
    """Where the tile lies that a network sees now; None where it sees the whole picture."""
    if traced():
        return None
    statistics = _current.get()
    return None if statistics is None else statistics._part


def part_mask(x: Tensor) -> Optional[Tensor]:
    """1 where features (N, C, H, W) of a tile count in sums over the picture and 0 elsewhere, (N, 1, H, W); None where
    all of them do.
    """
    part = tile_part()
    if part is None:
        return None
    mask = x.new_zeros(len(x), 1, *x.shape[-2:])
    part.crop(mask).fill_(1)
    return mask


def picture_sum(value: Tensor, join: Join = torch.add) -> Tensor:
    """What the whole picture has of a sum, for what the part of the tile (:func:`tile_part`) has of it.

    Outside of tiles it is what was given.

    Args:
        value: The sum over the part.
        join: Makes one of the values of two parts.
    """
    statistics = None if traced() else _current.get()
    return value if statistics is None else statistics.take(value, join)


def picture_mean(x: Tensor, keepdim: bool = False) -> Tensor:
    """Mean of each channel of (N, C, H, W) over the picture, (N, C), or (N, C, 1, 1) with ``keepdim``.

    Examples:
        >>> picture_mean(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3])
    """
    part = tile_part()
    if part is None:
        return x.mean((2, 3), keepdim=keepdim)
    mean = _means(part.crop(x))[0].to(x.dtype)
    return mean[..., None, None] if keepdim else mean


def picture_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Each channel of each image (N, C, H, W) by its mean and deviation over the picture, with scale and shift (C,)."""
    if tile_part() is None:
        return F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    inside = tile_part().crop(x)
    mean, variance = _moments(*_means(inside, inside.square()), x)
    scale = weight * (variance + eps).rsqrt()  # (N, C)
    return x * scale[..., None, None] + (bias - mean * scale)[..., None, None]


def picture_variance(x: Tensor) -> Tuple[Tensor, Tensor]:
    """Variance and mean of all channels of (N, C, H, W) together over the picture, (N, 1) each."""
    if tile_part() is None:
        return torch.var_mean(x.flatten(1), dim=1, keepdim=True, correction=0)
    inside = tile_part().crop(x)
    means = (mean.mean(1, keepdim=True) for mean in _means(inside, inside.square()))
    mean, variance = _moments(*means, x)
    return variance, mean


def picture_grid(x: Tensor, grid: Tuple[int, int], average: bool) -> Tensor:
    """The picture that (N, C, H, W) is a tile of, on a grid (h, w).

    Args:
        x: Features of a tile, at its size.
        grid: Rows and columns.
        average: Means of the cells of the grid, as ``F.adaptive_avg_pool2d`` makes them; otherwise bilinear samples
            with aligned corners.

    Returns:
        (N, C, h, w).
    """
    part = tile_part()
    make = cell_weights if average else point_weights
    sides = []
    for length, number, place, (start, stop) in zip(part.size, grid, part.place, (part.rows, part.columns)):
        sides.append(make(length, number, x)[:, place + start : place + stop])
    rows, columns = sides
    return picture_sum(rows @ (x[..., slice(*part.rows), slice(*part.columns)] @ columns.t()))


def _means(*parts: Tensor) -> List[Tensor]:
    """Means (N, C) over the picture of features of which the part of a tile is given, (N, C, h, w), in double
    precision.
    """
    sums = [part.sum((2, 3), dtype=torch.float64) for part in parts]
    pixels = sums[0].new_full((len(sums[0]), 1), parts[0].shape[2:].numel())
    joined = picture_sum(torch.cat([*sums, pixels], dim=1))
    return list((joined[:, :-1] / joined[:, -1:]).chunk(len(parts), dim=1))


def _moments(mean: Tensor, square: Tensor, like: Tensor) -> Tuple[Tensor, Tensor]:
    """Mean and variance, from means in double precision."""
    return mean.to(like.dtype), (square - mean * mean).clamp_min(0).to(like.dtype)


def _change(new: Tensor, old: Tensor) -> float:
    size = old.abs().max().item()
    return (new - old).abs().max().item() / size if size else float(new.abs().max().item() > 0)
