"""Types of detection errors by D. Bolya et al., "TIDE: A general toolbox for identifying object detection errors", ECCV
2020 (arXiv 2008.08115).

Every detection that is not a hit gets one type, by its overlap with the objects of its image (those that evaluation
ignores left out), t_f = 0.5 and t_b = 0.1, the first that holds of:

- *place*: the object of its class that it overlaps most is met by t_b to t_f,
- *class*: it overlaps an object of another class by at least t_f,
- *duplicate*: it overlaps an object of its class by at least t_f that a better detection has taken,
- *background*: it overlaps every object by at most t_b,
- *both* wrong class and wrong place: everything else.

Objects without a hit that no error of place or class could be mended to are *missed*. The order is that of the
published program (tidecv 1.0.1). A type's weight is what the average precision at t_f gains when all its errors are
mended: the best wrong detection of an object not yet found is moved or relabelled, the others, duplicates and
background are removed, and missed objects are not asked for.
"""

from typing import Dict, NamedTuple, Sequence

import numpy as np
from pycocotools import mask

from .average_precision import average_precision
from .matching import Matches, Ranking
from .record import Record

TYPES = ('class', 'place', 'both', 'duplicate', 'background', 'missed')
FOREGROUND, BACKGROUND = 0.5, 0.1


class Errors(NamedTuple):
    """Errors of one test run.

    Attributes:
        kind: (D, ) index in :data:`TYPES` for each detected box, -1 for hits and boxes that do not count.
        object: (D, ) object that an error of class or place could be mended to, else -1.
        missed: (G, ) whether an object is missed.
        gain: What the mean average precision at 0.5 gains without the errors of a type, by name.
        count: Number of errors, by name.
    """

    kind: np.ndarray
    object: np.ndarray
    missed: np.ndarray
    gain: Dict[str, float]
    count: Dict[str, int]


def find_errors(record: Record, matches: Matches) -> Errors:
    """Sort the errors of a record into types and weigh them.

    Args:
        record: With detections.
        matches: Its matches.
    """
    truth, found = record.truth, record.found
    kind, target = np.full(len(found.image), -1), np.full(len(found.image), -1)
    counted = truth.score == 0
    taken = np.zeros(len(truth.image), bool)
    taken[matches.found_match[matches.found_match >= 0]] = True
    wrong = (matches.found_match < 0) & ~matches.found_ignored
    for image in np.unique(found.image[wrong]):
        boxes, objects = (
            np.flatnonzero(wrong & (found.image == image)),
            np.flatnonzero(counted & (truth.image == image)),
        )
        kind[boxes], target[boxes] = _classify(
            found.box[boxes], found.label[boxes], truth.box[objects], truth.label[objects], taken[objects], objects
        )
    usable = np.zeros(len(truth.image), bool)
    usable[target[target >= 0]] = True
    missed = counted & ~taken & ~usable
    count = {name: int(np.count_nonzero(kind == index)) for index, name in enumerate(TYPES[:-1])} | dict(
        missed=int(missed.sum())
    )
    gain = {}
    before = _mean_precision(
        record, matches, np.arange(len(kind)), found.label, matches.found_match >= 0, missed & False
    )
    for index, name in enumerate(TYPES):
        keep, label, hit = _mend(record, matches, kind == index, target, taken)
        after = _mean_precision(record, matches, keep, label, hit, missed if name == 'missed' else missed & False)
        gain[name] = float(after - before)
    return Errors(kind, target, missed, gain, count)


def _classify(
    boxes: np.ndarray,
    labels: np.ndarray,
    objects: np.ndarray,
    classes: np.ndarray,
    taken: np.ndarray,
    index: np.ndarray,
):
    """Type and, for errors that can be mended, object of each box of one image."""
    kind, target = np.full(len(boxes), TYPES.index('background')), np.full(len(boxes), -1)
    if not len(objects):
        return kind, target
    overlap = mask.iou(_xywh(boxes), _xywh(objects), [0] * len(objects))
    same = labels[:, None] == classes[None]
    own, other, used = (np.where(where, overlap, 0) for where in (same, ~same, same & taken[None]))
    place = (own.max(1) >= BACKGROUND) & (own.max(1) <= FOREGROUND)
    relabel = other.max(1) >= FOREGROUND
    kind = np.select(
        [place, relabel, used.max(1) >= FOREGROUND, overlap.max(1) <= BACKGROUND],
        [TYPES.index(name) for name in ('place', 'class', 'duplicate', 'background')],
        TYPES.index('both'),
    )
    nearest = np.where(place, own.argmax(1), other.argmax(1))
    mendable = (place | relabel) & ~taken[nearest]
    target[mendable] = index[nearest[mendable]]
    return kind, target


def _mend(record: Record, matches: Matches, errors: np.ndarray, target: np.ndarray, taken: np.ndarray):
    """Boxes to keep, their labels and whether they are hits, once the given errors are mended."""
    found = record.found
    label, hit = found.label.copy(), matches.found_match >= 0
    mended = np.zeros(len(errors), bool)
    candidates = np.flatnonzero(target >= 0)
    best: Dict[int, int] = {}
    for box in candidates[np.argsort(-found.score[candidates], kind='mergesort')]:
        best.setdefault(
            int(target[box]), int(box)
        )  # the best of either type; the others could only be duplicates of it
    for place, box in best.items():
        if errors[box]:
            mended[box], label[box] = True, record.truth.label[place]
    return np.flatnonzero(~errors | mended), label, hit | mended


def _mean_precision(
    record: Record, matches: Matches, keep: np.ndarray, label: np.ndarray, hit: np.ndarray, dropped: np.ndarray
) -> float:
    """Mean over classes of the average precision at 0.5."""
    found, images = record.found, len(record.names)
    keep = keep[~matches.found_ignored[keep]]
    keep = keep[np.lexsort((keep, found.image[keep], -found.score[keep]))]
    wanted = (record.truth.score == 0) & ~dropped
    values = []
    for index in range(len(record.classes)):
        mine = keep[label[keep] == index]
        positives = np.bincount(record.truth.image[wanted & (record.truth.label == index)], minlength=images)
        ranking = Ranking(
            found.image[mine], found.score[mine], hit[mine][None], np.zeros((1, len(mine)), bool), positives
        )
        values.append(average_precision(ranking)[0])
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float('nan')


def _xywh(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def mean_gain(errors: Sequence[Errors]) -> Dict[str, float]:
    """Gains averaged over seeds, by type."""
    return {name: float(np.mean([each.gain[name] for each in errors])) for name in TYPES}
