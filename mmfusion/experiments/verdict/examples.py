"""Pairs of the test set on which two rows differ most."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from .matching import Matches
from .record import Record
from .tasks import TaskReport


class Example(NamedTuple):
    """One pair of the test set on which two rows differ.

    Attributes:
        image: Index of the pair.
        name: Its name.
        better: Row that does better on it.
        worse: The other one.
        scores: By row, right minus wrong detections (of segmentation, part of the pixels that are right), mean over
            seeds.
    """

    image: int
    name: str
    better: str
    worse: str
    scores: Dict[str, float]


def operating_score(found: Matches) -> float:
    """Score from which on detections at an overlap of 0.5 have the best F1, over all classes; above all scores where
    nothing is right."""
    rankings = [ranking.at([0]) for (_, size), ranking in found.rankings.items() if size == 'all']
    score = np.concatenate([ranking.score[~ranking.ignored[0]] for ranking in rankings])
    hit = np.concatenate([ranking.hit[0][~ranking.ignored[0]] for ranking in rankings])
    order = np.argsort(-score, kind='mergesort')
    right = np.cumsum(hit[order])
    if not len(right) or not right[-1]:
        return float('inf')
    quality = 2 * right / (np.arange(len(right)) + 1 + sum(ranking.positives.sum() for ranking in rankings))
    return float(score[order][np.argmax(quality)])


def image_scores(record: Record, found: Optional[Matches]) -> np.ndarray:
    """(I, ) how well each image is done: right minus wrong detections from the operating score on; of class maps the
    part of right pixels."""
    if found is None:
        total = record.confusion.sum((1, 2))
        return np.einsum('iaa->i', record.confusion) / np.maximum(total, 1)
    shown = (record.found.score >= operating_score(found)) & ~found.found_ignored
    hit = found.found_match >= 0
    right, wrong = (
        np.bincount(record.found.image[shown & which], minlength=len(record.names)) for which in (hit, ~hit)
    )
    return (right - wrong).astype(float)


def find_examples(
    tasks: Sequence[TaskReport],
    cells: Mapping[str, Sequence[Record]],
    matched: Mapping[str, Sequence[Matches]],
    number: int,
) -> List[Example]:
    """The pairs on which the two rows of the first answer differ most, half of them in favor of each.

    Args:
        tasks: What was judged.
        cells: Records of each row.
        matched: Their matches; empty without a detector.
        number: How many to find.
    """
    judgment = next(iter(tasks[0].judgments.values()))
    pair = [judgment.fused, judgment.single]
    if None in pair:
        pair = sorted(cells, key=lambda name: -np.nan_to_num(tasks[0].study.interval(name).value, nan=-1))[:2]
    if len(pair) < 2:
        return []
    scores = {
        name: np.mean(
            [image_scores(record, matched[name][index] if matched else None) for index, record in enumerate(records)],
            axis=0,
        )
        for name, records in cells.items()
    }
    gap = scores[pair[0]] - scores[pair[1]]
    order = np.argsort(-gap, kind='mergesort')
    chosen = [index for index in order[: number - number // 2] if gap[index] > 0] + [
        index for index in order[::-1][: number // 2] if gap[index] < 0
    ]
    names = next(iter(cells.values()))[0].names
    return [
        Example(
            int(index),
            names[index],
            *(pair if gap[index] > 0 else pair[::-1]),
            {name: float(scores[name][index]) for name in scores},
        )
        for index in chosen
    ]
