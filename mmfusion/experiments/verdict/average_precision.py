"""Average precision of many resamplings of the images at once."""

from typing import Optional

import numpy as np

from .matching import Ranking

RECALLS = np.linspace(0, 1, 101)
_CHUNK = 10_000_000  # numbers held at once, 80 MB


def average_precision(ranking: Ranking, weights: Optional[np.ndarray] = None) -> np.ndarray:
    """COCO's average precision, over 101 recalls, where every image counts as often as its weight says.

    It equals what pycocotools finds for a data set that holds each image so many times. Precision can peak, and recall
    can grow, at hits only; so the detections between them matter by their number, and each hit counts for the recalls
    that it is the first to reach.

    Args:
        ranking: Detections of one class.
        weights: (B, I) how often each of I images counts in each of B resamplings; once each when None.

    Returns:
        ndarray: (B, T) for T thresholds, (T, ) without weights; NaN where no object is to be found.

    Examples:
        >>> hit, ignored = np.array([[False, True]]), np.zeros((1, 2), bool)
        >>> one = Ranking(np.array([0, 1]), np.array([.9, .8]), hit, ignored, np.array([1, 1]))
        >>> average_precision(one).round(3)  # a wrong box, then one of two objects: precision 1/2 up to recall 1/2
        array([0.252])
        >>> average_precision(one, np.array([[1, 1], [0, 2], [2, 0]])).round(3)[:, 0]
        array([0.252, 1.   , 0.   ])
    """
    if weights is None:
        return average_precision(ranking, np.ones((1, len(ranking.positives))))[0]
    weights = np.asarray(weights, np.float64)
    chunk = max(1, _CHUNK // max(1, len(ranking.image)))
    return np.concatenate([_average_precision(ranking, weights[i : i + chunk]) for i in range(0, len(weights), chunk)])


def _average_precision(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    positives = weights @ ranking.positives  # (B, )
    result = np.zeros((len(weights), len(ranking.hit)))
    last = np.flatnonzero(ranking.hit.any(0))
    end = last[-1] + 1 if len(last) else 0  # what comes after the last hit changes nothing
    drawn = weights[:, ranking.image[:end]]  # (B, D)
    seen, seen_for = None, None
    for row, (hit, ignored) in enumerate(zip(ranking.hit[:, :end], ranking.ignored[:, :end])):
        hits = np.flatnonzero(hit)
        if not len(hits):
            continue
        if seen_for is None or not np.array_equal(seen_for, ignored):  # nearly always the same at all thresholds
            seen, seen_for = np.cumsum(drawn * ~ignored if ignored.any() else drawn, axis=1), ignored
        right = np.cumsum(drawn[:, hits], axis=1)
        precision = right / (seen[:, hits] + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(invalid='ignore', divide='ignore'):
            recall = right / positives[:, None]
        reached = np.searchsorted(RECALLS, recall, side='right')
        result[:, row] = (envelope * np.diff(reached, axis=1, prepend=0)).sum(1) / len(RECALLS)
    result[positives == 0] = np.nan
    return result


def precision_curve(ranking: Ranking) -> np.ndarray:
    """Interpolated precision at the 101 recalls, (T, 101); NaN where no object is to be found."""
    if not ranking.positives.sum():
        return np.full((len(ranking.hit), len(RECALLS)), np.nan)
    curves = np.zeros((len(ranking.hit), len(RECALLS)))
    for row, (hit, ignored) in enumerate(zip(ranking.hit, ranking.ignored)):
        right = np.cumsum(hit[~ignored])
        precision = np.maximum.accumulate((right / (np.arange(len(right)) + 1 + np.spacing(1)))[::-1])[::-1]
        first = np.searchsorted(right / ranking.positives.sum(), RECALLS, side='left')
        curves[row, first < len(right)] = precision[first[first < len(right)]]
    return curves
