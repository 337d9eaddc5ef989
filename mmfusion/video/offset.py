"""Constant offset of the clocks of two streams, from what moves in them."""

from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmfusion.utils.errors import UserError

from .streams import Frame

WINDOW = 20.0  # seconds of both streams that are looked at
MAX_OFFSET = 2.0
LEAST_FRAMES = 8
LEAST_SCORE = 0.15
_THUMB = (48, 36)
_STEP = 0.02
_NEARLY = 0.7


@dataclass
class OffsetEstimate:
    """An estimated offset.

    Attributes:
        offset: Seconds to add to the times of the second stream to get those of the first.
        score: Correlation of what moves in both streams at this offset, in [-1, 1].
        lead: How far the score lies above the best one that is not beside it.
        halves: Offsets that the first and the second half of the window give on their own.
        kinds: Offsets that either kind of motion gives, see :meth:`MotionTrack.motion`.
        reasons: Why the estimate is refused; empty when it is accepted.
    """

    offset: float
    score: float
    lead: float
    halves: Tuple[float, float]
    kinds: Tuple[float, float]
    reasons: List[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether the offset can be relied on."""
        return not self.reasons

    def to_dict(self) -> Dict[str, object]:
        """Plain values."""
        return dict(
            offset=round(self.offset, 4),
            score=round(self.score, 3),
            lead=round(self.lead, 3),
            halves=[round(value, 4) for value in self.halves],
            kinds=[round(value, 4) for value in self.kinds],
            reasons=self.reasons,
        )


class MotionTrack:
    """Where a stream moves, over time, in small pictures.

    Differences of neighboring frames are the same in all modalities where the absolute values of the pictures are not: a warm person who walks is
    bright in one and dark in the other, and moves in both.

    Args:
        frames: Frames in order of time; only their thumbnails are kept.
        window: Seconds to take, from the first frame.
        prepare: Applied to each picture first, such as the warp of a rig.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        window: float = WINDOW,
        prepare: Optional[Callable[[np.ndarray], np.ndarray]] = None,
    ) -> None:
        self.times: List[float] = []
        self.thumbs: List[np.ndarray] = []
        for frame in frames:
            if self.times and frame.time <= self.times[-1]:
                continue
            if self.times and frame.time - self.times[0] > window:
                break
            self.add(frame.image if prepare is None else prepare(frame.image), frame.time)

    def add(self, image: np.ndarray, time: float) -> None:
        """Take one more frame (H, W, 1 or 3)."""
        small = cv2.resize(image, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
        self.thumbs.append(small.mean(-1) if small.ndim == 3 else small)
        self.times.append(time)

    @property
    def interval(self) -> float:
        """Usual distance of neighbors in seconds."""
        return float(np.median(np.diff(self.times)))

    def motion(self, grid: np.ndarray, span: float) -> Tuple[np.ndarray, np.ndarray]:
        """Motion at the times of a grid, (T, P) float32 each, linear between the frames.

        Args:
            grid: Times.
            span: Seconds between the frames that are compared, the same for both streams, since a longer one shows two places.

        Returns:
            Change of what stands before the background, whatever its contrast; and change of the pictures themselves.
        """
        apart = min(max(int(round(span / self.interval)), 1), len(self.times) // 2)
        thumbs, times = np.stack(self.thumbs), np.array(self.times)
        middles = (times[apart:] + times[:-apart]) / 2
        after = np.searchsorted(middles, grid).clip(1, len(middles) - 1)
        share = ((grid - middles[after - 1]) / (middles[after] - middles[after - 1])).clip(0, 1).astype(np.float32)
        kinds = []
        for pictures, blur in ((self._before_background(thumbs), 1.0), (thumbs, 1.5)):
            maps = np.abs(pictures[apart:] - pictures[:-apart])
            # the noise of the sensor moves everywhere
            maps = np.maximum(maps - 2 * np.median(maps, axis=(1, 2), keepdims=True), 0)
            maps /= (times[apart:] - times[:-apart])[:, None, None]
            maps = np.stack([cv2.GaussianBlur(one, (0, 0), blur) for one in maps]).reshape(len(maps), -1)
            kinds.append(maps[after - 1] * (1 - share[:, None]) + maps[after] * share[:, None])
        return kinds[0], kinds[1]

    @staticmethod
    def _before_background(thumbs: np.ndarray) -> np.ndarray:
        """Distance from the median over time, without noise, and bounded, so that a hot part counts no more than a lukewarm one."""
        distance = np.abs(thumbs - np.median(thumbs[:: max(len(thumbs) // 60, 1)], axis=0))
        distance = np.maximum(distance - 3 * np.median(distance), 0)
        return distance / (distance + 8)


def estimate_offset(first: MotionTrack, second: MotionTrack, max_offset: float = MAX_OFFSET) -> OffsetEstimate:
    """Find the shift in time at which both streams move at the same places.

    Two kinds of motion of both, on a common grid of 20 ms and without their mean at each pixel, are correlated for every shift, and a
    parabola through the best shifts gives the rest. The pictures should be registered, roughly at least. The estimate has to pass checks:
    correlation, a lead on every other shift, agreement of both halves of the window and of both kinds of motion.

    Args:
        first: Motion of the first stream.
        second: Motion of the second stream, on its own clock.
        max_offset: Largest shift of the beginnings of both in seconds.

    Returns:
        The estimate, accepted or with the reasons why not.

    Raises:
        UserError: A stream holds fewer than eight frames.
    """
    for label, track in (('first', first), ('second', second)):
        if len(track.times) < LEAST_FRAMES:
            raise UserError(
                f'the offset cannot be estimated: the {label} stream has {len(track.times)} frames, and {LEAST_FRAMES} are needed; '
                'give --offset SECONDS'
            )
    grids = [np.arange(track.times[0], track.times[-1], _STEP) for track in (first, second)]
    interval = max(track.interval for track in (first, second))
    kinds = [
        _centered(*pair) for pair in zip(*(track.motion(grid, interval) for track, grid in zip((first, second), grids)))
    ]
    lags = _lags(max_offset, len(grids[0]), len(grids[1]))
    start = grids[0][0] - grids[1][0]  # what to add when both begin at the same time
    length = len(grids[0])
    parts = [slice(None, length // 2), slice(length // 2, length)]
    # by kind of motion and half of the window
    table = np.array([[_correlate(*kind, lags, part) for part in parts] for kind in kinds])
    scores = np.mean([_correlate(*kind, lags) for kind in kinds], axis=0)
    best = int(np.argmax(scores))
    near = max(int(0.5 * interval / _STEP), 1)
    beside = np.abs(lags - lags[best]) * _STEP <= 4 * interval
    lead = float(scores[best] - scores[~beside].max()) if (~beside).any() else 0.0
    others = []
    for part in (*table.mean(0), *table.mean(1)):
        # where little moves, some shifts are as good by chance: the best one beside the whole's has to be nearly as good as any
        window = np.where(beside & (part >= _NEARLY * part.max()), part, -np.inf)
        place = int(np.argmax(window if np.isfinite(window).any() else part))
        others.append(float(start + _STEP * _vertex(lags, part, place, near)))
    offset = float(start + _STEP * _vertex(lags, scores, best, near))
    estimate = OffsetEstimate(offset, float(scores[best]), lead, (others[0], others[1]), (others[2], others[3]))
    estimate.reasons = _reasons(estimate, interval, best in (0, len(lags) - 1), max_offset)
    return estimate


def _centered(one: np.ndarray, other: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Without what is there all the time."""
    return one - one.mean(0), other - other.mean(0)


def _reasons(estimate: OffsetEstimate, interval: float, at_border: bool, max_offset: float) -> List[str]:
    found = []
    if not estimate.score >= LEAST_SCORE:
        found.append(f'what moves in both streams hardly agrees (correlation {estimate.score:.2f})')
    if at_border:
        found.append(f'the best shift is the largest that was tried ({max_offset:g} s)')
    for name, values in (('halves of the streams', estimate.halves), ('two kinds of motion', estimate.kinds)):
        apart = max(abs(value - estimate.offset) for value in values)
        if apart > interval:
            found.append(f'the {name} give offsets that lie {apart:.2f} s off')
    if not estimate.lead > 0:
        found.append('another shift agrees as well')
    return found


def _lags(max_offset: float, length: int, other: int) -> np.ndarray:
    """Shifts in steps; at least half of the shorter stream has to remain."""
    most = min(int(round(max_offset / _STEP)), max(min(length, other) // 2, 1))
    return np.arange(-most - max(other - length, 0), most + max(length - other, 0) + 1)


def _correlate(one: np.ndarray, other: np.ndarray, lags: Sequence[int], part: slice = slice(None)) -> np.ndarray:
    """Correlation of both at each lag, where grid place k of ``other`` lies at k + lag of ``one``; ``part`` of ``one`` alone."""
    begin, end, _ = part.indices(len(one))
    scores = np.full(len(lags), -1.0)
    for index, lag in enumerate(lags):
        low, high = max(begin, lag), min(end, len(other) + lag)
        if high - low < max((end - begin) // 4, 4):
            continue
        a, b = one[low:high].ravel(), other[low - lag : high - lag].ravel()
        norm = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
        scores[index] = float(np.dot(a, b)) / norm if norm > 0 else 0.0
    return scores


def _vertex(lags: np.ndarray, scores: np.ndarray, best: int, near: int) -> float:
    """Place of the top of the parabola that fits the scores up to ``near`` steps from the best."""
    low, high = max(best - near, 0), min(best + near + 1, len(scores))
    if high - low < 3:
        return float(lags[best])
    bend, slope, _ = np.polyfit(lags[low:high] - lags[best], scores[low:high], 2)
    top = -slope / (2 * bend) if bend < 0 else 0.0
    return float(lags[best] + np.clip(top, -near, near))


def track_live(first: Iterator[Frame], second: Iterator[Frame], window: float) -> Tuple[MotionTrack, MotionTrack]:
    """Motion of two streams that run now, for ``window`` seconds; their frames are used up."""
    tracks, frames = (MotionTrack(()), MotionTrack(())), (first, second)
    while True:
        behind = min((0, 1), key=lambda index: tracks[index].times[-1] if tracks[index].times else -np.inf)
        frame = next(frames[behind], None)
        if frame is None or (tracks[behind].times and frame.time - tracks[behind].times[0] > window):
            return tracks
        tracks[behind].add(frame.image, frame.time)
