"""Pairing the frames of two streams by their times."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Deque, Dict, Iterable, Iterator, NamedTuple, Optional, Sequence

import numpy as np

from mmfusion.utils.errors import InputError

from .streams import Frame

#: Farthest partner, in intervals of the second stream: half of one, and a little for stamps that tremble.
REACH = 0.6


class FramePair(NamedTuple):
    """Two frames taken at the same time.

    Attributes:
        first: Frame of the first stream, whose clock counts.
        second: Its partner.
        distance: Seconds by which the second frame was taken later.
        repeated: Whether the second frame was the partner of the frame before too.
    """

    first: Frame
    second: Frame
    distance: float
    repeated: bool


@dataclass
class PairCounts:
    """What became of the frames.

    Attributes:
        paired: Frames of the first stream with a partner.
        repeated: Those whose partner was also that of the frame before.
        dropped_first: Frames of the first stream without a partner, in the time that both streams cover.
        unused_second: Frames of the second stream that were nobody's partner, in that time.
        outside_first: Frames of the first stream read from before or after the time of the second.
        outside_second: Frames of the second stream before the time of the first.
    """

    paired: int = 0
    repeated: int = 0
    dropped_first: int = 0
    unused_second: int = 0
    outside_first: int = 0
    outside_second: int = 0

    def to_dict(self) -> Dict[str, int]:
        """Plain values."""
        return asdict(self)


class PairedFrames:
    """Iterate over pairs of frames: each frame of the first stream with the nearest one of the second, if that is near
    enough.

    It holds three frames at a time. After the second stream has ended, the first is read until its frames are out of
    reach.

    Args:
        first: Frames in order of time.
        second: Likewise.
        offset: Seconds to add to the times of the second stream to get those of the first.
        tolerance: Farthest partner in seconds; 0.6 of the usual interval of the second stream when missing, so that a
            lost frame is not replaced by its neighbor, while a slower second stream serves several frames of the first.
        interval: Interval of the second stream in seconds, until enough frames have come to see it.

    Attributes:
        counts: What became of the frames so far.
        second_ended: Whether the first stream goes on when the second has ended.

    Raises:
        ValueError: The tolerance is not above 0.

    Examples:
        >>> first = [Frame(None, time / 10, '') for time in range(4)]
        >>> second = [Frame(None, time / 10 - 0.52, '') for time in (0, 1, 3)]
        >>> pairs = PairedFrames(first, second, offset=0.5, interval=0.1)
        >>> [round(pair.first.time, 3) for pair in pairs], pairs.counts.dropped_first
        ([0.0, 0.1, 0.3], 1)
    """

    def __init__(
        self,
        first: Iterable[Frame],
        second: Iterable[Frame],
        offset: float = 0.0,
        tolerance: Optional[float] = None,
        interval: float = 1 / 25,
    ) -> None:
        if tolerance is not None and not tolerance > 0:
            raise InputError(f'the tolerance must be above 0 seconds, got {tolerance}')
        self.first, self.second = first, second
        self.offset, self.tolerance = float(offset), tolerance
        self.counts, self.second_ended = PairCounts(), False
        self._interval = interval
        self._gaps: Deque[float] = deque(maxlen=31)

    @property
    def reach(self) -> float:
        """Farthest partner in seconds, as it is now."""
        if self.tolerance is not None:
            return self.tolerance
        return REACH * (float(np.median(self._gaps)) if len(self._gaps) >= 5 else self._interval)

    def __iter__(self) -> Iterator[FramePair]:
        counts, seconds = self.counts, iter(self.second)
        before: Optional[Frame] = None  # the last frame of the second stream that is not after the first's time
        after = self._advance(seconds, None)
        start = after.time + self.offset if after is not None else None
        before_served = after_served = False
        last: Optional[Frame] = None
        for frame in self.first:
            while after is not None and after.time + self.offset <= frame.time:
                if before is not None and not before_served:
                    if counts.paired + counts.dropped_first:
                        counts.unused_second += 1
                    else:
                        counts.outside_second += 1
                before, before_served = after, after_served
                after, after_served = self._advance(seconds, after), False
            distance = [
                abs(one.time + self.offset - frame.time) if one is not None else np.inf for one in (before, after)
            ]
            if min(distance) > self.reach:
                inside = start is not None and frame.time > start and after is not None
                counts.dropped_first += inside
                counts.outside_first += not inside
                if after is None:
                    self.second_ended = True
                    return
                continue
            if distance[0] <= distance[1]:
                partner, before_served = before, True
            else:
                partner, after_served = after, True
            counts.paired += 1
            counts.repeated += partner is last
            yield FramePair(frame, partner, partner.time + self.offset - frame.time, partner is last)
            last = partner

    def _advance(self, seconds: Iterator[Frame], last: Optional[Frame]) -> Optional[Frame]:
        frame = next(seconds, None)
        if frame is not None and last is not None:
            self._gaps.append(frame.time - last.time)
        return frame


def right_pairs(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """For each true time of the first stream the index of the nearest of the second."""
    first, second = np.asarray(first), np.asarray(second)
    after = np.searchsorted(second, first).clip(1, len(second) - 1)
    return after - (first - second[after - 1] <= second[after] - first)
