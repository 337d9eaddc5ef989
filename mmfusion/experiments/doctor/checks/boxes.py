"""Boxes that were moved: what they hold does not look like the objects of the set, and what lies beside them does."""

from typing import Iterator, List, Sequence, Tuple

import cv2
import numpy as np

from ..check import CHECKS, Case, Check, NotJudged, Unjudged, Verdict, by_set
from ..loaded_pair import LoadedPair
from .tones import need_content

_SIDE = 10  # samples across a box and what is around it
_VIEW = 1.6  # sides of the view relative to the box
_MOST_BOXES = 6  # of a pair, the largest
_LEAST_BOXES = 100  # of a set, to learn from
_RIDGE = 0.5
_RINGS = ((0.6, 6), (1.0, 6))  # (distance in sizes of the box, directions)
_FOLDS = 5
_NEIGHBORS = 3  # pairs that follow each other are often one scene, and go to one fold
_TOLD = 0.75  # of the pairs must score above the border, or the set cannot be judged
_LEAST_SIDE = 6
_GAIN, _CLEAR_GAIN = 0.15, 0.6  # of the best shift over the place at rest, where the score there is low, and otherwise
_LOW = -0.4  # a low score
_LONE_LOW, _LONE_GAIN = -0.3, 1.0  # of a single box, which looks unlike the others more easily
_SHIFTS = np.arange(-1.25, 1.26, 0.25)  # in median sides of the boxes
#: Places of a view in sizes of the box: at rest, then around it.
PLACES = np.array(
    [(0.0, 0.0)]
    + [
        (distance * np.cos(angle), distance * np.sin(angle))
        for distance, count in _RINGS
        for angle in np.arange(count) * 2 * np.pi / count
    ]
)


@CHECKS.register_module(name='boxes')
class BoxesCheck(Check):
    """Boxes that lie beside their objects.

    What a box holds in both images, and what it would hold elsewhere, is told apart by a linear discriminant that is
    learned from the other pairs of the set. The boxes of a pair are taken together, since one cause moves them all.
    """

    name = 'boxes'
    title = 'boxes that lie beside their objects'
    measures = (
        'how much the content of the boxes looks like that of the other boxes of the set, less the same around them (0 '
        'is the border, 1 is usual); then how much more it would after the best common shift'
    )
    threshold = 0.0
    remedy = (
        'draw the boxes anew or move them; look whether they were made on images of another size or crop, '
        'or on one camera alone'
    )
    severity = 'harmful'

    def look(self, pair: LoadedPair) -> np.ndarray:
        """Views of the largest boxes and around them."""
        boxes, layers = _boxes_and_layers(pair)
        views = np.stack([[_view(layers, box, place) for place in PLACES] for box in boxes])
        return _rounded(views)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Pairs whose boxes look more like what lies beside boxes."""
        for group in by_set(cases).values():
            if sum(len(case.fact) for case in group) < _LEAST_BOXES:
                yield from (
                    Unjudged(self.name, case.entry, f'fewer than {_LEAST_BOXES} boxes in the set') for case in group
                )
                continue
            discriminants = _learn(group, np.ones(len(group), bool))
            means = _means(group, discriminants)
            sure = np.array(means) > self.threshold
            if sum(len(case.fact) for case, kept in zip(group, sure) if kept) >= _LEAST_BOXES:
                discriminants = _learn(group, sure)  # moved boxes blur what the others have in common
                means = _means(group, discriminants)
            told = np.mean(np.array(means) > 0) > _TOLD
            for case, mean, discriminant in zip(group, means, discriminants):
                if not told:
                    yield Unjudged(self.name, case.entry, 'boxes of this set do not look alike')
                elif mean < self.threshold:
                    yield self._judge_shifted(case, mean, *discriminant)

    def _judge_shifted(self, case: Case, mean: float, weights: np.ndarray, border: float) -> Verdict:
        """Look for a common shift after which the boxes of a suspicious pair fit."""
        score, shift = _best_shift(LoadedPair(case.entry), weights, border)
        count, gain = len(case.fact), score - mean
        if count == 1 and not (mean < _LONE_LOW and gain >= _LONE_GAIN):
            return Unjudged(self.name, case.entry, 'one box alone, which looks unlike the others')
        if gain < _GAIN or (gain < _CLEAR_GAIN and mean > _LOW):
            return Unjudged(self.name, case.entry, 'boxes that look unlike the others, and fit nowhere beside either')
        x, y = shift
        what = f'{count} boxes do not fit what they hold' if count > 1 else 'the box does not fit what it holds'
        message = f'{what} (score {mean:.1f}, 1 is usual); moved by about ({x:.0f}, {y:.0f}) pixels: {score:.1f}'
        return self.finding(case.entry, message, mean, badness=gain)


def _boxes_and_layers(pair: LoadedPair) -> Tuple[np.ndarray, List[np.ndarray]]:
    """The largest boxes (N, 4) of a pair, and gray levels and edges of both images.

    Raises:
        NotJudged: There is no box of some size, an image shows nothing, or the images have other sizes.
    """
    if not pair.entry.boxes:
        raise NotJudged('no boxes')
    need_content(pair)
    height, width = pair.first.shape[:2]
    if pair.second.shape[:2] != (height, width):
        raise NotJudged('images of other sizes')
    boxes = np.array([box for _, box in pair.entry.boxes], np.float64)
    boxes = boxes[np.isfinite(boxes).all(1)]
    sides, middle = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (middle > 0).all(1) & (middle < (width, height)).all(1)
    usable = (sides.min(1) >= _LEAST_SIDE) & inside
    if not usable.any():
        raise NotJudged(f'no box of at least {_LEAST_SIDE} pixels')
    order = np.argsort(-sides[usable].prod(1))[:_MOST_BOXES]
    return boxes[usable][order], [layer for gray in pair.grays for layer in _layers(gray)]


def _best_shift(pair: LoadedPair, weights: np.ndarray, border: float) -> Tuple[float, Tuple[float, float]]:
    """Best score of the boxes of a pair after a common shift, and the shift (x, y) in pixels."""
    boxes, layers = _boxes_and_layers(pair)
    sides = boxes[:, 2:] - boxes[:, :2]
    unit = float(np.median(np.sqrt(sides.prod(1))))
    found = []
    for x in _SHIFTS * unit:
        for y in _SHIFTS * unit:
            views = np.stack([_view(layers, box, (x, y) / side) for box, side in zip(boxes, sides)])
            found.append((float((_rounded(views) @ weights - border).mean()), (float(x), float(y))))
    return max(found)


def _rounded(views: np.ndarray) -> np.ndarray:
    """Views as int8, in steps of 1/32."""
    return np.clip(np.rint(views * 32), -127, 127).astype(np.int8)


def _layers(gray: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Gray levels and edges, each in units of the image's own spread."""
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    smooth = (smooth - smooth.mean()) / (smooth.std() + 4)
    edges = cv2.magnitude(cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)) / 8
    return smooth, np.minimum(edges, 2)


def _view(layers: Sequence[np.ndarray], box: np.ndarray, place: Sequence[float]) -> np.ndarray:
    """What a box and its surroundings hold, moved by a part of its size: 300 numbers for each image."""
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = (box[0] + box[2]) / 2 + place[0] * width, (box[1] + box[3]) / 2 + place[1] * height
    step = np.array([width, height]) * _VIEW / _SIDE
    matrix = np.array([[step[0], 0, x - step[0] * (_SIDE - 1) / 2], [0, step[1], y - step[1] * (_SIDE - 1) / 2]])
    parts: List[np.ndarray] = []
    for number, layer in enumerate(layers):
        part = cv2.warpAffine(
            layer,
            matrix,
            (_SIDE, _SIDE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if number % 2 == 0:
            part = part - np.median(np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]]))
            parts += [part.ravel(), np.abs(part).ravel()]
        else:
            parts.append(part.ravel())
    return np.concatenate(parts)


def _learn(group: Sequence[Case], sure: np.ndarray) -> List[Tuple[np.ndarray, float]]:
    """Weights and border for each pair, learned from pairs of other folds.

    Args:
        group: Pairs of one set.
        sure: (N, ) bool: pairs to learn from.
    """
    folds = np.arange(len(group)) // _NEIGHBORS % _FOLDS
    learned = {}
    for fold in np.unique(folds):
        views = [case.fact for case, number, kept in zip(group, folds, sure) if number != fold and kept]
        if not views:  # one pair has all the boxes
            return [(np.zeros(group[0].fact.shape[-1], np.float32), 0.0)] * len(group)
        learned[fold] = _discriminant(np.concatenate(views))
    return [learned[fold] for fold in folds]


def _means(group: Sequence[Case], discriminants: Sequence[Tuple[np.ndarray, float]]) -> List[float]:
    """Mean score of the boxes of each pair as they lie."""
    return [float((case.fact[:, 0] @ weights - border).mean()) for case, (weights, border) in zip(group, discriminants)]


def _discriminant(views: np.ndarray) -> Tuple[np.ndarray, float]:
    """Weights and border between boxes as they lie and as they would lie elsewhere; a box scores 1 on the median.

    Args:
        views: (boxes, places, features).
    """
    views = views[: max(1, int(4e8 // views[0].size // 4))].astype(np.float32)
    at_rest, beside = views[:, 0], views[:, 1:].reshape(-1, views.shape[-1])
    middle = (at_rest.mean(0) + beside.mean(0)) / 2
    scatter = [part - part.mean(0) for part in (at_rest, beside)]
    covariance = sum(part.T @ part / len(part) for part in scatter) / 2
    covariance += _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance), dtype=np.float32)
    weights = np.linalg.solve(covariance, at_rest.mean(0) - beside.mean(0))
    border = float(middle @ weights)
    unit = max(float(np.median(at_rest @ weights - border)), 1e-6)
    return weights / unit, border / unit
