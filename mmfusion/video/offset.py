"""Constant offset of the clocks of two streams, from what moves in them."""

from dataclasses import dataclass, field
from typing import Dict, List, Tuple

import numpy as np

from mmfusion.utils.errors import UserError

from .motion import WINDOW, Agreement, Comparison, MotionTrack, track_live
from .pairing import right_pairs

__all__ = ['MAX_OFFSET', 'WINDOW', 'MotionTrack', 'OffsetEstimate', 'estimate_offset', 'track_live']

MAX_OFFSET = 2.0
LEAST_FRAMES = 8
LEAST_SCORE, LEAST_LEAD = 0.05, 0.02
#: Seconds that an estimate may be wrong by, however well its parts agree: with this, 3 of 51 rendered pairs of streams
#: were off by more than their uncertainty, the two accepted ones of them by 5.7 ms.
LEAST_UNCERTAINTY = 0.005
#: Part of the frames that may have another partner if the estimate is wrong by its uncertainty: 99 % of them are to be
#: paired rightly.
MOST_DOUBTFUL = 0.01
#: Seconds by which a partner may be farther than the nearest frame and still count as right; stamps are no truer than
#: that.
EQUALLY_NEAR = 0.005
_COARSE, _FINE = 0.02, 0.005


@dataclass
class OffsetEstimate:
    """An estimated offset.

    Attributes:
        offset: Seconds to add to the times of the second stream to get those of the first.
        uncertainty: Seconds by which it may be wrong, from how far the cells of the picture, kinds of motion and parts
            of the time disagree.
        doubtful: Part of the first stream's frames that have another partner, farther by 5 ms and more, if the offset
            is wrong by that.
        score: Correlation of what moves in both streams at this offset, in [-1, 1].
        lead: How far the score lies above the best one that is not beside it.
        halves: Offsets that the first and the second half of the window give on their own.
        kinds: Offsets that either kind of motion gives: change of the pictures, and outlines that are not in the
            background.
        reasons: Why the estimate is refused; empty when it is accepted.
    """

    offset: float
    uncertainty: float
    doubtful: float
    score: float
    lead: float
    halves: Tuple[float, float]
    kinds: Tuple[float, float]
    reasons: List[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether the offset can be relied on."""
        return not self.reasons

    @property
    def doubtful_alone(self) -> bool:
        """Whether the uncertainty, for the rates of these streams, is all that speaks against it."""
        return self.reasons == [self.doubt]

    @property
    def doubt(self) -> str:
        """What the uncertainty means for the frames, in words."""
        return (
            f'it may be wrong by {1000 * self.uncertainty:.0f} ms, at which {100 * self.doubtful:.0f} % of the frames '
            'would get another partner'
        )

    def to_dict(self) -> Dict[str, object]:
        """Plain values."""
        return dict(
            offset=round(self.offset, 4),
            uncertainty=round(self.uncertainty, 4),
            doubtful=round(self.doubtful, 4),
            score=round(self.score, 3),
            lead=round(self.lead, 3),
            halves=[round(value, 4) for value in self.halves],
            kinds=[round(value, 4) for value in self.kinds],
            reasons=self.reasons,
        )


def estimate_offset(first: MotionTrack, second: MotionTrack, max_offset: float = MAX_OFFSET) -> OffsetEstimate:
    """Find the shift in time at which both streams move at the same places.

    Two kinds of motion of both, without their mean at each pixel, are correlated at every shift, in steps of 20 ms and
    near the best one of 5 ms.
    Each cell of the picture then gives a shift of its own by a parabola through its best ones, and the offset is their
    weighted median: a shadow that runs ahead of a car, or a hot engine in its front, pull on few of them. The pictures
    should be registered, roughly at least.

    The estimate has to pass checks: correlation, a lead on every other shift, agreement of both halves of the window
    and of both kinds of motion within a frame, and an uncertainty at which nearly all frames keep their partners. The
    last one is stricter where rates differ, since there some frames lie half-way between two of the other stream.

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
                f'the offset cannot be estimated: the {label} stream has {len(track.times)} frames, '
                f'and {LEAST_FRAMES} are needed; '
                'give --offset SECONDS'
            )
    interval = max(first.interval, second.interval)
    compared = Comparison(first, second)
    start = first.times[0] - second.times[0]  # what to add when both begin at the same time
    lags = start + _COARSE * np.arange(-int(max_offset / _COARSE), int(max_offset / _COARSE) + 1)
    scores = compared.at(lags).of()
    best = int(np.argmax(scores))
    beside = np.abs(lags - lags[best]) <= max(4 * interval, 2 * _COARSE)
    lead = float(scores[best] - scores[~beside].max()) if (~beside).any() else 0.0

    reach = 3 * interval
    near = compared.at(lags[best] + _FINE * np.arange(-round(reach / _FINE), round(reach / _FINE) + 1))
    half = max(interval / 2, 4 * _FINE)
    curves, weights = near.cells()
    shifts = np.array([_top(near.lags, curve, half) for curve in curves])
    weights = weights * curves.max(1).clip(0)
    offset = _weighted_median(shifts, weights)
    halves, kinds = _parts(near, half)
    uncertainty = _uncertainty(offset, shifts, weights, halves, kinds)
    estimate = OffsetEstimate(offset, uncertainty, 0.0, float(near.of().max()), lead, halves, kinds)
    estimate.doubtful = doubtful_pairs(first.times, second.times, offset, uncertainty)
    estimate.reasons = _reasons(estimate, interval, best in (0, len(lags) - 1), max_offset)
    return estimate


def doubtful_pairs(first: List[float], second: List[float], offset: float, uncertainty: float) -> float:
    """Part of the frames of ``first`` that get another partner, farther by 5 ms and more, if the offset is wrong by
    ``uncertainty`` either way.

    Args:
        first: Times of the first stream in seconds.
        second: Times of the second, on its own clock.
        offset: What to add to them.
        uncertainty: Seconds.

    Examples:
        >>> doubtful_pairs([0.0, 0.1, 0.2], [0.0, 0.1, 0.2], 0.01, 0.02)
        0.0
        >>> doubtful_pairs([0.0, 0.1, 0.2], [0.0, 0.1, 0.2], 0.04, 0.02)
        1.0
    """
    first, second, worst = np.asarray(first), np.asarray(second), 0.0
    inside = (first >= second[0] + offset) & (first <= second[-1] + offset)
    if not inside.any() or not np.isfinite(uncertainty):
        return 1.0
    first, chosen = first[inside], right_pairs(first[inside], second + offset)
    for wrong in (-uncertainty, uncertainty):
        distance = np.abs(second + offset + wrong - first[:, None])
        farther = distance[np.arange(len(first)), chosen] - distance.min(1) > EQUALLY_NEAR
        worst = max(worst, float(farther.mean()))
    return worst


def _parts(near: Agreement, half: float) -> Tuple[Tuple[float, float], Tuple[float, float]]:
    """Offsets of the halves of the window, and of the kinds of motion."""
    halves = tuple(_top(near.lags, near.of(parts=slice(part, part + 1)), half) for part in range(2))
    return halves, tuple(_top(near.lags, near.of(kinds=slice(kind, kind + 1)), half) for kind in range(2))


def _uncertainty(
    offset: float, shifts: np.ndarray, weights: np.ndarray, halves: Tuple[float, float], kinds: Tuple[float, float]
) -> float:
    """Twice the standard error of the weighted median, and no less than what the nearer of the parts is off."""
    total = float(weights.sum())
    if not total > 0:
        return float('inf')
    spread = 1.4826 * _weighted_median(np.abs(shifts - offset), weights)
    number = total**2 / float((weights**2).sum())
    error = 2 * 1.2533 * spread / np.sqrt(number)
    return float(
        max(error, *(min(abs(value - offset) for value in pair) for pair in (halves, kinds)), LEAST_UNCERTAINTY)
    )


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][min(np.searchsorted(below, below[-1] / 2), len(values) - 1)])


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
    if not estimate.lead >= LEAST_LEAD:
        found.append(f'another shift agrees nearly as well (lead {estimate.lead:.2f})')
    if not found and estimate.doubtful > MOST_DOUBTFUL:
        found.append(estimate.doubt)
    return found


def _top(lags: np.ndarray, scores: np.ndarray, half: float) -> float:
    """Place of the top of the parabola that fits the scores up to ``half`` seconds from the best."""
    best = int(np.argmax(scores))
    near = np.abs(lags - lags[best]) <= half + 1e-9
    if near.sum() < 3:
        return float(lags[best])
    bend, slope, _ = np.polyfit(lags[near] - lags[best], scores[near], 2)
    top = -slope / (2 * bend) if bend < 0 else 0.0
    return float(lags[best] + np.clip(top, -half, half))
