"""Sources that changed places: the infrared image where the visible one should be."""

from typing import Iterator, NamedTuple, Sequence

import cv2
import numpy as np

from ..check import CHECKS, Case, Check, Unjudged, Verdict, by_set
from ..loaded_pair import LoadedPair
from .tones import color_of, need_content

_GRAY, _COLOR = 1.0, 3.0  # mean difference of channels: below, above
_LEAST_PAIRS = 20


class _Looks(NamedTuple):
    """Color of both images, and the difference of their descriptions."""

    color: tuple
    difference: np.ndarray


@CHECKS.register_module(name='swapped')
class SwappedCheck(Check):
    """Color where the infrared image should be and none where the visible one should be; of gray pairs, statistics
    against those of the set.
    """

    name = 'swapped'
    title = 'visible and infrared image exchanged'
    measures = (
        'color of both images; of gray ones, which source they look like, by a discriminant that is '
        'learned from the set'
    )
    threshold = -0.5
    remedy = 'exchange the two files, or the folders if the whole set is concerned'
    severity = 'serious'
    modalities = ('visible', 'infrared')

    def look(self, pair: LoadedPair) -> _Looks:
        """Color and description of both images."""
        need_content(pair)
        first, second = (_describe(gray) for gray in pair.working)
        return _Looks(tuple(color_of(image) for image in pair.images), (first - second).astype(np.float32))

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """By color where it decides, otherwise by the discriminant of the set."""
        for group in by_set(cases).values():
            scores = _scores(np.stack([case.fact.difference for case in group]))
            for case, score in zip(group, scores):
                first, second = case.fact.color
                if first <= _GRAY and second >= _COLOR:
                    message = f'the infrared image has color ({second:.1f} levels), the visible one none ({first:.1f})'
                    yield self.finding(case.entry, message, second, badness=10 + second)
                elif second <= _GRAY and first >= _COLOR:
                    continue
                elif not np.isfinite(score):
                    yield Unjudged(
                        self.name, case.entry, 'both are gray or both have color, and the set does not tell them apart'
                    )
                elif score < self.threshold:
                    message = f'each image looks like the other source (score {score:.2f}; 1 is usual in this set)'
                    yield self.finding(case.entry, message, score, badness=-score)


def _describe(gray: np.ndarray) -> np.ndarray:
    """Statistics that tell cameras apart, without regard to what is shown: (9, )."""
    values = gray / np.float32(255)
    deviation = max(float(values.std()), 1e-3)
    centered = (values - values.mean()) / deviation
    fine = [values - cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (0.8, 2.0, 6.0)]
    energy = [float(np.log(band.std() + 1e-4)) for band in fine]
    rows, columns = (float(np.abs(np.diff(values, axis=axis)).mean()) for axis in (0, 1))
    half = len(values) // 2
    return np.array(
        [
            values.mean(),
            np.log(deviation),
            np.tanh((centered**3).mean() / 2),
            np.tanh((centered**4).mean() / 6 - 0.5),
            *energy,
            np.log((rows + 1e-4) / (columns + 1e-4)),
            values[:half].mean() - values[half:].mean(),
        ]
    )


def _scores(differences: np.ndarray) -> np.ndarray:
    """How much each pair looks as the set does: 1 is the median, negative ones look exchanged; NaN where the set does
    not tell.

    A tenth of the pairs is left out in turn and judged by the others, so that none speaks for itself.

    Args:
        differences: (N, D) description of the first less that of the second image.
    """
    count, size = differences.shape
    unknown = np.full(count, np.nan)
    if count < _LEAST_PAIRS:
        return unknown
    spread = np.sqrt((differences**2).mean(0)) + 1e-6
    scaled = differences.astype(np.float64) / spread
    scores = np.empty(count)
    fold = np.arange(count) % 10
    for number in range(10):
        others = scaled[fold != number]
        center = np.median(others, 0)
        # few exchanged pairs must not widen the spread: their difference is turned back first
        others = others * np.where(others @ center < 0, -1, 1)[:, None]
        mean = others.mean(0)
        scatter = np.cov(others.T) + 0.05 * np.eye(size)
        weights = np.linalg.solve(scatter, mean)
        scores[fold == number] = scaled[fold == number] @ weights / max(float(np.median(others @ weights)), 1e-9)
    told = (np.abs(scores) > -SwappedCheck.threshold).mean() > 0.9 and (scores > 0).mean() > 0.6
    return scores if told else unknown
