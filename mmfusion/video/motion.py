"""Motion in a stream, in small pictures, and how well two streams agree in it at each shift in time."""

from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from .streams import Frame

WINDOW = 20.0  # seconds of both streams that are looked at
MOST_FRAMES = 600  # of a stream, for memory
KINDS = ('change', 'outlines')
#: Rows and columns of cells, and parts of the window, that are looked at one by one.
CELLS, PARTS = (3, 4), 2
_SMALL = (160, 120)  # finer than a thumbnail: an edge that is smeared over pixels is smeared over time too
_CONTRAST = dict(change=8.0, outlines=30.0)  # gray levels at which a change counts half of what it can at most


class MotionTrack:
    """Where a stream moves, over time, in small pictures.

    Places that change are the same in all modalities where the values of the pictures are not: a warm person who walks
    is bright in one and dark in the other, and moves in both.

    Args:
        frames: Frames in order of time; only small copies are kept.
        window: Seconds to take, from the first frame, and 600 frames at most.
        prepare: Applied to each picture first, such as the warp of a rig.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        window: float = WINDOW,
        prepare: Optional[Callable[[np.ndarray], np.ndarray]] = None,
    ) -> None:
        self.times: List[float] = []
        self.pictures: List[np.ndarray] = []
        self._prepare = prepare
        for frame in frames:
            if self.full(frame.time, window):
                break
            self.add(frame)

    def full(self, time: float, window: float) -> bool:
        """Whether a frame at ``time`` lies behind the window."""
        return bool(self.times) and (time - self.times[0] > window or len(self.times) >= MOST_FRAMES)

    def add(self, frame: Frame) -> None:
        """Take one more frame; one whose time stamp is not after that of the frame before is left out."""
        if self.times and frame.time <= self.times[-1]:
            return
        image = frame.image if self._prepare is None else self._prepare(frame.image)
        small = cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA)
        self.pictures.append(small if small.ndim == 2 else small.mean(-1).astype(small.dtype))
        self.times.append(frame.time)

    @property
    def interval(self) -> float:
        """Usual distance of neighbors in seconds."""
        return float(np.median(np.diff(self.times)))

    def maps(self, kind: str, span: float) -> Tuple[np.ndarray, np.ndarray]:
        """Motion and the times that it belongs to.

        Args:
            kind: ``'change'``: of the pictures within a span; ``'outlines'``: edges that are not those of the
                background.
            span: Seconds between the frames that are compared, the same for both streams, since a longer one sweeps
                over more.

        Returns:
            (T, H, W) float32 in [0, 1), bounded so that what has much contrast counts no more than the rest; and (T,)
            times in seconds.
        """
        pictures, times = self._gray_levels(), np.array(self.times)
        if kind == 'change':
            apart = min(max(int(round(span / self.interval)), 1), len(times) // 2)
            found, times = np.abs(pictures[apart:] - pictures[:-apart]), (times[apart:] + times[:-apart]) / 2
            noise = 2 * np.median(found, axis=(1, 2), keepdims=True)  # that of the sensor moves everywhere
        else:
            edges = np.stack([cv2.magnitude(cv2.Sobel(one, -1, 1, 0), cv2.Sobel(one, -1, 0, 1)) for one in pictures])
            found = np.abs(edges - np.median(edges[:: max(len(edges) // 60, 1)], axis=0))
            noise = 4 * np.median(found[:: max(len(found) // 60, 1)])
        found = np.maximum(found - noise, 0)
        return found / (found + _CONTRAST[kind]), times

    def _gray_levels(self) -> np.ndarray:
        """(T, H, W) float32, in the range of 8 bits where the stream has another one."""
        stack = np.stack(self.pictures)
        if stack.dtype == np.uint8:
            return stack.astype(np.float32)
        low, high = np.nanpercentile(stack[:: max(len(stack) // 20, 1)], (1, 99))
        return (np.nan_to_num(stack.astype(np.float32)) - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))


def track_live(
    first: Iterator[Frame], second: Iterator[Frame], window: float, prepare: Sequence[Optional[Callable]] = (None, None)
) -> Tuple[MotionTrack, MotionTrack]:
    """Motion of two streams that run now, for ``window`` seconds; their frames are used up.

    Args:
        first: Frames of the first stream, as they come.
        second: Likewise, on the same clock.
        window: Seconds.
        prepare: For each stream, see :class:`MotionTrack`.
    """
    tracks, frames = tuple(MotionTrack((), prepare=one) for one in prepare), (first, second)
    while True:
        behind = min((0, 1), key=lambda index: tracks[index].times[-1] if tracks[index].times else -np.inf)
        frame = next(frames[behind], None)
        if frame is None or tracks[behind].full(frame.time, window):
            return tracks
        tracks[behind].add(frame)


class Agreement(NamedTuple):
    """Sums from which the correlation of the motion of two streams at each shift follows.

    Attributes:
        lags: (L,) seconds to add to the times of the second stream.
        sums: (3, K, C, P, L): products of both, squares of the one and of the other; by kind of motion, cell of the
            picture and part of the time.
    """

    lags: np.ndarray
    sums: np.ndarray

    def of(self, kinds: slice = slice(None), parts: slice = slice(None)) -> np.ndarray:
        """Correlation (L,) over all cells, the mean over kinds of motion."""
        return _correlation(self.sums[:, kinds, :, parts].sum((2, 3))).mean(0)

    def cells(self) -> Tuple[np.ndarray, np.ndarray]:
        """Correlation of each kind in each cell, (K * C, L), and the weight of each of them by what moves there, (K *
        C,).
        """
        sums = self.sums.sum(3).reshape(3, -1, len(self.lags))
        return _correlation(sums), (sums[1] * sums[2]).mean(-1) ** 0.25


def _correlation(sums: np.ndarray) -> np.ndarray:
    norm = np.sqrt(sums[1] * sums[2])
    return np.divide(sums[0], norm, out=np.zeros_like(norm), where=norm > 0)


class Comparison:
    """The motion of two streams, ready to be compared at any shift.

    Nothing is resampled but the faster stream, to the times of the slower one: between the frames of the slower one
    things move by several pixels, and a mixture of two of its frames shows them at two places.

    Args:
        first: Motion of the first stream.
        second: Motion of the second stream, on its own clock.
    """

    def __init__(self, first: MotionTrack, second: MotionTrack) -> None:
        span = max(first.interval, second.interval)
        self.first_leads = first.interval <= second.interval  # the first is the faster one
        self._kinds = []
        for kind in KINDS:
            fast, slow = (
                track.maps(kind, span) for track in ((first, second) if self.first_leads else (second, first))
            )
            self._kinds.append((_products(fast[0], slow[0]), fast[1], slow[1]))

    def at(self, lags: np.ndarray) -> Agreement:
        """Sums at each lag (seconds to add to the times of the second stream)."""
        sums = np.stack([self._sums(*kind, lags if self.first_leads else -lags) for kind in self._kinds], axis=1)
        return Agreement(lags, sums)

    @staticmethod
    def _sums(products: Tuple[np.ndarray, ...], fast: np.ndarray, slow: np.ndarray, lags: np.ndarray) -> np.ndarray:
        both, own, neighbors, other = products
        part = np.minimum(((slow - slow[0]) / (slow[-1] - slow[0]) * PARTS).astype(int), PARTS - 1)
        sums = np.zeros((3, len(both), PARTS, len(lags)))
        for index, lag in enumerate(lags):
            moved = slow + lag
            after = np.searchsorted(fast, moved)
            inside = np.flatnonzero((after > 0) & (after < len(fast)))
            if 2 * len(inside) < len(slow) and 2 * len(inside) * np.ptp(slow) < len(slow) * np.ptp(fast):
                continue  # they overlap in less than half of the shorter one
            k = after[inside]
            share = (moved[inside] - fast[k - 1]) / (fast[k] - fast[k - 1])
            rest = 1 - share
            terms = (
                rest * both[:, k - 1, inside] + share * both[:, k, inside],
                rest**2 * own[:, k - 1] + share**2 * own[:, k] + 2 * share * rest * neighbors[:, k - 1],
                other[:, inside],
            )
            for place in range(PARTS):
                chosen = part[inside] == place
                sums[:, :, place, index] = [term[:, chosen].sum(1) for term in terms]
        return sums


def _products(fast: np.ndarray, slow: np.ndarray) -> Tuple[np.ndarray, ...]:
    """Inner products by cell: of all maps of both (C, F, S), of the faster with itself and its neighbors (C, F), of the
    slower with itself (C, S).

    What is there all the time does not count: the mean of each pixel is taken off.
    """
    fast, slow = fast - fast.mean(0), slow - slow.mean(0)
    found = []
    for rows in np.array_split(np.arange(fast.shape[1]), CELLS[0]):
        for columns in np.array_split(np.arange(fast.shape[2]), CELLS[1]):
            cell = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            f, s = fast[cell].reshape(len(fast), -1), slow[cell].reshape(len(slow), -1)
            found.append((f @ s.T, (f * f).sum(1), (f[1:] * f[:-1]).sum(1), (s * s).sum(1)))
    return tuple(np.stack(parts) for parts in zip(*found))
