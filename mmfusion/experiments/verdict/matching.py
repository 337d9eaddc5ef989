"""Matches of detections with ground truth by pycocotools, as arrays that can be resampled."""

import contextlib
import io
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .record import Boxes, Record

THRESHOLDS = np.linspace(0.5, 0.95, 10)
#: Sides in pixels of squares that part small from medium and medium from large objects, as in COCO.
SIZE_EDGES = (32, 96)
SIZES = ('all', 'small', 'medium', 'large')
MAX_DETECTIONS = 100


class Ranking(NamedTuple):
    """Detections of one class over all images, best score first; equal scores in the order of the images, as
    pycocotools has them.

    Attributes:
        image: (D, ) index of the image.
        score: (D, ).
        hit: (T, D) whether the detection is matched to an object that counts, at each threshold of overlap.
        ignored: (T, D) whether it counts neither as right nor as wrong.
        positives: (I, ) objects that count, by image.
    """

    image: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    positives: np.ndarray

    def at(self, thresholds: Sequence[int]) -> 'Ranking':
        """Only some thresholds, by index."""
        return self._replace(hit=self.hit[list(thresholds)], ignored=self.ignored[list(thresholds)])


class Matches(NamedTuple):
    """All rankings of one test run.

    Attributes:
        rankings: By (class index, name of size).
        found_match: (D, ) index of the object that each box of ``record.found`` is matched to at an overlap of 0.5, -1
            for none.
        found_ignored: (D, ) whether the box counts neither as right nor as wrong: matched to an ignored object, or
            beyond the limit per image.
    """

    rankings: Dict[Tuple[int, str], Ranking]
    found_match: np.ndarray
    found_ignored: np.ndarray


def evaluate_coco(record: Record, size_edges: Sequence[float] = SIZE_EDGES) -> COCOeval:
    """Run pycocotools' matching.

    Args:
        record: With detections.
        size_edges: See :data:`SIZE_EDGES`.

    Returns:
        COCOeval: After ``evaluate()``; ids of images are their index + 1, those of boxes and objects too.
    """
    areas = [0.0, *(float(edge) ** 2 for edge in size_edges), 1e10]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_as_coco(record, False), _as_coco(record, True), 'bbox')
        evaluation.params.iouThrs = THRESHOLDS
        evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
        evaluation.params.areaRng = [[areas[0], areas[-1]], *map(list, zip(areas[:-1], areas[1:]))]
        evaluation.params.areaRngLbl = list(SIZES)
        evaluation.evaluate()
    return evaluation


def match(record: Record, size_edges: Sequence[float] = SIZE_EDGES, evaluation: Optional[COCOeval] = None) -> Matches:
    """Match every detection with at most one object; arguments as in :func:`evaluate_coco`."""
    evaluation = evaluation or evaluate_coco(record, size_edges)
    images, rankings = len(record.names), {}
    found_match = np.full(len(record.found.image), -1)
    found_ignored = np.ones(
        len(record.found.image), bool
    )  # those beyond the limit per image are not in pycocotools' answer
    parts = iter(evaluation.evalImgs)
    for label in range(len(record.classes)):
        for size in SIZES:
            found = [part for part in (next(parts) for _ in range(images)) if part is not None]
            rankings[label, size] = _rank(found, images)
            for part in found if size == 'all' else ():
                ids = np.array(part['dtIds'], int) - 1
                found_match[ids], found_ignored[ids] = part['dtMatches'][0].astype(int) - 1, part['dtIgnore'][0]
    return Matches(rankings, found_match, found_ignored)


def _rank(parts: Sequence[dict], images: int) -> Ranking:
    number = [len(part['dtScores']) for part in parts]
    image = np.repeat([part['image_id'] - 1 for part in parts], number).astype(np.int64)
    score = np.concatenate([part['dtScores'] for part in parts]) if parts else np.zeros(0)
    matched, ignored = (
        (
            np.concatenate([part[key] for part in parts], axis=1).astype(bool)
            if parts
            else np.zeros((len(THRESHOLDS), 0), bool)
        )
        for key in ('dtMatches', 'dtIgnore')
    )
    positives = np.zeros(images, np.int64)
    for part in parts:
        positives[part['image_id'] - 1] = np.count_nonzero(np.asarray(part['gtIgnore']) == 0)
    order = np.argsort(-score, kind='mergesort')
    return Ranking(image[order], score[order], (matched & ~ignored)[:, order], ignored[:, order], positives)


def _as_coco(record: Record, found: bool) -> COCO:
    boxes = record.found if found else record.truth
    coco = COCO()
    coco.dataset = dict(
        images=[
            dict(id=index + 1, height=int(height), width=int(width))
            for index, (height, width) in enumerate(record.sizes)
        ],
        categories=[dict(id=index, name=name) for index, name in enumerate(record.classes)],
        annotations=[_annotation(index, boxes, found) for index in range(len(boxes.image))],
    )
    coco.createIndex()
    return coco


def _annotation(index: int, boxes: Boxes, found: bool) -> dict:
    left, top, right, bottom = boxes.box[index].tolist()
    box = [left, top, right - left, bottom - top]
    value = float(boxes.score[index])
    return dict(
        id=index + 1,
        image_id=int(boxes.image[index]) + 1,
        category_id=int(boxes.label[index]),
        bbox=box,
        area=box[2] * box[3],
        iscrowd=0 if found else int(value),
        **(dict(score=value) if found else {}),
    )
