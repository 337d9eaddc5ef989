"""Polarity of the infrared image: people are warmer than what is around them, so they are brighter."""

from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from ..check import CHECKS, Case, Check, Unjudged, Verdict, by_set
from ..loaded_pair import LoadedPair
from .tones import need_content

PEOPLE = (
    'person',
    'people',
    'pedestrian',
    'man',
    'woman',
    'child',
    'human',
    'persons',
    'pedestrians',
    'rider',
    'walker',
)
_CLEAR = 0.35  # contrast, in standard deviations of the image, from which on a box says something
_AGREE = 0.9  # of the boxes of a class are bright, where it is used beside people
_MOST = 0.65  # of the boxes of people have one sign, where they speak for the set
_LEAST_BOXES = 12
_ALIKE = 0.5  # median correlation of the layouts of a set, from which on they tell
_LEAST_PAIRS = 10
_LAYOUT = (16, 12)


class _Warmth(NamedTuple):
    """Contrast of the boxes, by class, and the layout of the infrared image (unit norm, without its mean)."""

    contrasts: List[Tuple[str, float]]
    layout: np.ndarray


@CHECKS.register_module(name='polarity')
class PolarityCheck(Check):
    """Infrared images in which warm things are dark.

    Where the pictures of a set are alike (cold sky above, warm ground below), the layout tells it. Otherwise boxes of
    people do, and those of classes that are warm throughout the set; a single dark one is not enough, since a coat
    before a warm street is dark too. What neither tells is not judged.
    """

    name = 'polarity'
    title = 'infrared images with inverted polarity'
    measures = (
        'contrast of boxes of people in the infrared image, in its standard deviations; without boxes, '
        'correlation of the layout with the set'
    )
    threshold = -0.35
    remedy = (
        'invert the infrared image (255 - value), or set the camera to white-hot; '
        'fusion and detectors take bright for warm'
    )
    severity = 'serious'
    modalities = ('visible', 'infrared')

    def look(self, pair: LoadedPair) -> _Warmth:
        """Contrasts and layout."""
        need_content(pair)
        gray = pair.grays[1]
        layout = cv2.resize(gray, _LAYOUT, interpolation=cv2.INTER_AREA)
        layout = layout - layout.mean()
        layout = (layout / max(float(np.linalg.norm(layout)), 1e-6)).astype(np.float32).ravel()
        contrasts = [(name.lower(), box_contrast(gray, box)) for name, box in pair.entry.boxes or ()]
        return _Warmth([(name, value) for name, value in contrasts if np.isfinite(value)], layout)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """By boxes where they say something, otherwise by layout."""
        for group in by_set(cases).values():
            signs, anchor = _signs(group)
            layouts = _layout_agreement(np.stack([case.fact.layout for case in group])) * (anchor or 1)
            alike = len(group) >= _LEAST_PAIRS and float(np.median(np.abs(layouts))) >= _ALIKE
            for case, layout in zip(group, layouts):
                votes = [
                    signs[name] * value for name, value in case.fact.contrasts if name in signs and abs(value) >= _CLEAR
                ]
                total = float(sum(votes) / np.sqrt(len(votes))) if votes else 0.0
                if alike and layout < self.threshold and total < 2 * _CLEAR:
                    against = 'against the rest of the set' if anchor >= 0 else 'in the whole set, as its people tell'
                    message = f'warm and cold parts are exchanged {against} (correlation {layout:.2f})'
                    yield self.finding(case.entry, message, layout, badness=-layout)
                elif alike and layout > -self.threshold and (anchor or total >= _CLEAR):
                    continue
                elif total < -_CLEAR and len(votes) > 1:
                    message = (
                        f'{len(votes)} boxes of warm objects are darker than their surroundings '
                        f'({total:.1f} standard deviations)'
                    )
                    yield self.finding(case.entry, message, total, badness=-total)
                elif total < _CLEAR:
                    yield Unjudged(self.name, case.entry, _reason(votes, alike and layout > -self.threshold))


def _reason(votes: Sequence[float], like_others: bool) -> str:
    if like_others:
        return 'like the rest of the set, in which too few boxes of people tell warm from cold'
    return 'one box alone, which is dark' if votes else 'no box of a person that stands out'


def box_contrast(gray: np.ndarray, box: Sequence[float]) -> float:
    """Mean of the inner part of a box less that of a frame around it, in standard deviations of the image; NaN where
    there is no room.

    Args:
        gray: (H, W) float32.
        box: (x1, y1, x2, y2) pixels.
    """
    height, width = gray.shape
    x1, y1, x2, y2 = box
    if not np.isfinite(box).all() or x2 - x1 < 3 or y2 - y1 < 3:
        return float('nan')

    def cut(grow: float) -> Tuple[slice, slice]:
        dx, dy = (x2 - x1) * grow, (y2 - y1) * grow
        left, right = (int(np.clip(round(value), 0, width)) for value in (x1 - dx, x2 + dx))
        top, bottom = (int(np.clip(round(value), 0, height)) for value in (y1 - dy, y2 + dy))
        return slice(top, bottom), slice(left, right)

    inner, outer, whole = (gray[cut(grow)] for grow in (-0.2, 0.35, 0.05))
    if not inner.size or outer.size <= whole.size:
        return float('nan')
    around = (float(outer.sum()) - float(whole.sum())) / (outer.size - whole.size)
    return (float(inner.mean()) - around) / max(float(gray.std()), 1.0)


def _signs(group: Sequence[Case]) -> Tuple[Dict[str, int], int]:
    """Classes that are warm, and what people say of the set: 1 warm is bright, -1 warm is dark, 0 nothing.

    People are warm; other classes count where nearly all of their boxes are bright in a set whose people are.
    """
    values: Dict[str, List[float]] = {}
    for case in group:
        for name, value in case.fact.contrasts:
            if abs(value) >= _CLEAR:
                values.setdefault(name, []).append(value)
    signs = dict.fromkeys(PEOPLE, 1)
    people = np.array([value for name in PEOPLE for value in values.get(name, ())])
    if len(people) < _LEAST_BOXES:
        return signs, 0
    bright = float((people > 0).mean())
    anchor = 1 if bright > _MOST else -1 if bright < 1 - _MOST else 0
    for name, found in values.items():
        if anchor > 0 and len(found) >= _LEAST_BOXES and np.mean(np.array(found) > 0) >= _AGREE:
            signs[name] = 1
    return signs, anchor


def _layout_agreement(layouts: np.ndarray) -> np.ndarray:
    """Correlation of each layout with the mean of the others, (N, )."""
    rest = layouts.sum(0)[None] - layouts
    norm = np.maximum(np.linalg.norm(rest, axis=1), 1e-6)
    return np.einsum('nd,nd->n', layouts, rest) / norm
