"""Registration of a pair, with a confidence and a gate."""

from dataclasses import dataclass
from functools import cached_property
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmfusion.utils.errors import UserError

from .agreement import window_agreement
from .features import WIDE, Picture, align, content_mask, similarity
from .gate import Checks, judge
from .geometry import MODELS, corner_distance, fitting_matrix, lay, scale_matrix, valid_region
from .refine import FROM_FAR, FROM_NEAR, TO_THE_END, Level, refine
from .search import COARSE_WIDTH, DEGREES, WIDTH, nearby_shift, scale_grid, search

WORKING_WIDTH = 320
FULL_WIDTH = 640  # at which an accepted transform is refined last
MIN_SIDE = 64
THRESHOLD = 0.5
_FINALISTS = 4  # places that are refined to the end
_HOPELESS = 0.6  # of the best score at a width of 160: places below are not refined further
_SAME = 0.01  # of the width: refined places closer than this are one
_APART = 0.04  # of the width: candidates closer than this are one
_ASIDE = 0.05  # of the width: how far around the best place another shift is looked for
_STAYS = 3.0  # pixels of 320: a better shift closer than this is left to the steps
_PRIOR = 0.1  # taken from a score per width of movement: of two equal places the nearer one
_NEAR = 4.0  # pixels of 320: how far the steps on the full pictures may lead
_SAME_VIEW = (0.88, 1.14)
_OTHER_VIEW = (0.5, 2.0)


@dataclass
class Registration:
    """How the second image of a pair lies on the first.

    Attributes:
        matrix: (3, 3) float64: from pixels (x, y, 1) of the second image to pixels of the first.
        model: Kind of transform.
        confidence: That the corners are right within a few pixels at a width of 320, in [0, 1].
        accepted: The confidence reaches the threshold. Do not warp otherwise.
        reasons: Why it was refused, one sentence each; empty when accepted.
        checks: The figures behind the confidence.
        first_shape: (height, width) of the first image.
        second_shape: (height, width) of the second.
    """

    matrix: np.ndarray
    model: str
    confidence: float
    accepted: bool
    reasons: List[str]
    checks: Dict[str, float]
    first_shape: Tuple[int, int]
    second_shape: Tuple[int, int]

    @cached_property
    def valid(self) -> np.ndarray:
        """(height, width) bool: pixels of the first image that the second covers."""
        return valid_region(self.matrix, self.second_shape, self.first_shape)

    def warp(self, second: np.ndarray) -> np.ndarray:
        """The second image on the pixels of the first; zero where :attr:`valid` is False.

        Raises:
            UserError: The registration was refused, or the image has another size than the one that was registered.
        """
        if not self.accepted:
            raise UserError('this pair was not registered: ' + '; '.join(self.reasons))
        if second.shape[:2] != self.second_shape:
            (height, width), (rows, columns) = second.shape[:2], self.second_shape
            raise UserError(f'the image to warp has {width}x{height} pixels, the registered one had {columns}x{rows}')
        return lay(second, self.matrix, self.valid)

    def to_dict(self) -> dict:
        """Plain values, as ``mmfusion register --json`` prints them."""
        return dict(
            matrix=[[float(value) for value in row] for row in self.matrix],
            model=self.model,
            confidence=round(self.confidence, 4),
            accepted=self.accepted,
            reasons=list(self.reasons),
            checks={name: round(float(value), 4) for name, value in self.checks.items()},
            first_size=list(self.first_shape[::-1]),
            second_size=list(self.second_shape[::-1]),
        )


class _Start(NamedTuple):
    """A search, how many of its candidates are kept, and how these are refined up to a width of 160."""

    width: int
    count: int
    levels: Tuple[Level, ...]


# Places that share fine edges alone do not show in the coarse search, blurred pictures hardly in the fine one.
_STARTS = _Start(WIDTH, 8, FROM_NEAR), _Start(COARSE_WIDTH, 2, FROM_FAR)


class _Place(NamedTuple):
    score: float
    matrix: np.ndarray


def register_pair(
    first: np.ndarray,
    second: np.ndarray,
    model: str = 'similarity',
    threshold: float = THRESHOLD,
    scales: Optional[Sequence[float]] = None,
    max_shift: float = 0.25,
) -> Registration:
    """Estimate how the second image lies on the first; neither modality nor size nor field of view must be equal.

    A grid of turns (up to 6 degrees) and scales is searched with all shifts at once on pictures 160 and 96 pixels wide;
    the best ten places are refined by Gauss-Newton steps on edge features, up to four of them to a width of 320
    (:mod:`~mmfusion.registration.features`), and shifts of the best one are tried once more. An accepted transform is
    refined at a width of 640, beside a distortion of the lens that is not returned: it is the one that fits the picture
    as a whole. The result is only as good as its confidence: below the threshold it says why, and must not be used.

    Args:
        first: (H, W), (H, W, 1) or (H, W, 3) BGR, any numeric type. It stays as it is.
        second: The image to be brought onto it, of any size.
        model: ``'translation'``, ``'similarity'``, ``'affine'`` or ``'homography'``; the fewer parameters, the
            steadier.
        threshold: Least confidence of an accepted result, in [0, 1].
        scales: Least and greatest size of what the second image shows, relative to equal widths; by default 0.88 to
            1.14 for images of one size, 0.5 to 2 for others. A translation has none: one pixel stays one pixel.
        max_shift: Largest shift of the centers as a part of the size.

    Raises:
        UserError: An argument is out of range, or an image is no picture, holds NaN, or is smaller than 64 pixels.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> scene = cv2.GaussianBlur(rng.uniform(0, 255, (160, 200)).astype(np.float32), (0, 0), 3)
        >>> scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
        >>> result = register_pair(scene[10:130, 10:170], 255 - scene[14:134, 16:176], model='translation')
        >>> result.accepted, result.matrix[:2, 2].round(1).tolist()
        (True, [6.0, 4.0])
    """
    check_options(model, threshold, scales, max_shift)
    pictures = [_picture(image, name) for image, name in ((first, 'first'), (second, 'second'))]
    shapes = first.shape[:2], second.shape[:2]
    scales = (_SAME_VIEW if shapes[0] == shapes[1] else _OTHER_VIEW) if scales is None else tuple(scales)
    if model == 'translation':  # one pixel for one pixel
        scales = (shapes[1][1] / shapes[0][1],) * 2
    factors = [
        min(1.0, WORKING_WIDTH * room / picture.shape[1]) for picture, room in zip(pictures, (1.0, max(1.0, scales[1])))
    ]
    small, moving = (picture.resized(factor) for picture, factor in zip(pictures, factors))
    pyramid = _Pair(small, moving)
    best, runner_up = pyramid.find(model, scale_grid(*scales), max_shift)
    checks = pyramid.check(best, runner_up, model)
    matrix = np.linalg.inv(scale_matrix(factors[0])) @ best.matrix @ scale_matrix(factors[1])
    confidence, reasons = judge(checks, threshold)
    if not reasons:
        matrix = _sharpen(*pictures, matrix, model)
    return Registration(matrix / matrix[2, 2], model, confidence, not reasons, reasons, checks._asdict(), *shapes)


def _sharpen(first: Picture, second: Picture, matrix: np.ndarray, model: str) -> np.ndarray:
    """Last steps of an accepted transform, on larger pictures and with allowance for lenses; kept where they stay
    near.
    """
    levels = Level(WORKING_WIDTH, WIDE), Level(FULL_WIDTH)
    found = refine(first, second, matrix, model, levels, steps=8, lens=True)
    moved = corner_distance(found, matrix, second.shape) / first.shape[1] * WORKING_WIDTH
    return found if moved < _NEAR else matrix


def check_options(
    model: str = 'similarity',
    threshold: float = THRESHOLD,
    scales: Optional[Sequence[float]] = None,
    max_shift: float = 0.25,
) -> None:
    """Look at the arguments of :func:`register_pair` before any image is read.

    Raises:
        UserError: One of them is out of range.
    """
    if model not in MODELS:
        raise UserError(f'no transform model {model!r}; choose from {", ".join(MODELS)}')
    if not 0 <= threshold <= 1 or not 0 < max_shift <= 0.5:
        raise UserError(f'threshold must lie in [0, 1] and max_shift in (0, 0.5], got {threshold} and {max_shift}')
    if scales is not None and (len(scales) != 2 or not 0 < scales[0] <= scales[1]):
        raise UserError(f'scales must be the least and the greatest, both positive, got {tuple(scales)}')


def _picture(image: np.ndarray, name: str) -> Picture:
    """A gray picture of an array, on a scale of about 0 to 255."""
    if (
        not isinstance(image, np.ndarray)
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] not in (1, 3))
    ):
        raise UserError(f'the {name} image must be an array (H, W), (H, W, 1) or (H, W, 3)')
    if min(image.shape[:2]) < MIN_SIDE:
        raise UserError(
            f'the {name} image has {image.shape[1]}x{image.shape[0]} pixels; registration needs at least '
            f'{MIN_SIDE}x{MIN_SIDE}'
        )
    gray = image.astype(np.float32)
    if not np.isfinite(gray).all():
        raise UserError(f'the {name} image holds NaN or infinite values; mend the file')
    if gray.ndim == 3:
        gray = gray[..., 0] if gray.shape[2] == 1 else cv2.cvtColor(gray, cv2.COLOR_BGR2GRAY)
    mask = content_mask(gray)
    if image.dtype != np.uint8:
        inside = gray[mask > 0]
        low, high = np.percentile(inside, (0.5, 99.5)) if inside.size else (0.0, 1.0)
        gray = ((np.clip(gray, low, high) - low) * (255 / max(high - low, 1e-12))).astype(np.float32)
    return Picture(gray, mask)


class _Pair:
    """Both reduced images and what is asked of them."""

    def __init__(self, first: Picture, second: Picture) -> None:
        self.first, self.second = first, second
        self.rest = fitting_matrix(first.shape, second.shape)
        self._likeness: Dict[Tuple[bytes, int], float] = {}

    def moved(self, matrix: np.ndarray, other: Optional[np.ndarray] = None) -> float:
        """Mean distance of the corners from another transform (by default from rest), in widths of the first image."""
        return corner_distance(matrix, self.rest if other is None else other, self.second.shape) / self.first.shape[1]

    def likeness(self, matrix: np.ndarray, width: int) -> float:
        """Similarity at a width, computed once for each transform."""
        key = matrix.tobytes(), width
        if key not in self._likeness:
            self._likeness[key] = similarity(align(self.first, self.second, matrix, width))
        return self._likeness[key]

    def score(self, matrix: np.ndarray, widths: Sequence[int]) -> float:
        """Similarity, lowered where little overlaps and where much has to move."""
        total = float(np.mean([self.likeness(matrix, width) for width in widths]))
        return total * min(1.0, self.overlap(matrix) / 0.9) ** 0.5 - _PRIOR * self.moved(matrix)

    def overlap(self, matrix: np.ndarray) -> float:
        """Shared area over that of the image that covers less."""
        width = 80
        factor = width / self.first.shape[1]
        shape = (max(1, round(self.first.shape[0] * factor)), width)
        inside = valid_region(scale_matrix(factor) @ matrix, self.second.shape, shape)
        spread = abs(np.linalg.det(matrix[:2, :2])) * self.second.shape[0] * self.second.shape[1] * factor**2
        return float(inside.sum()) / max(1.0, min(inside.size, spread))

    def find(self, model: str, scales: np.ndarray, max_shift: float) -> Tuple[_Place, float]:
        """Best place, and the score of the best one elsewhere (at a width of 160 alone where it was not refined to the
        end).
        """
        rough = self._rough_places(model, scales, max_shift)
        if not rough:  # an image without content
            return _Place(0.0, self.rest), 0.0
        chosen: List[_Place] = []
        left: List[_Place] = []
        for place in rough:
            known = any(self.moved(place.matrix, other.matrix) <= _SAME for other in chosen)
            if len(chosen) < _FINALISTS and place.score >= _HOPELESS * rough[0].score and not known:
                chosen.append(place)
            else:
                left.append(place)
        levels = TO_THE_END[1:] if model in ('translation', 'similarity') else TO_THE_END
        finals = [refine(self.first, self.second, place.matrix, model, levels) for place in chosen]
        places = [_Place(self.score(matrix, (160, 320)), matrix) for matrix in finals]
        best = max(places, key=lambda place: place.score)
        aside = self._aside(best.matrix, model)
        if aside is not None:
            places.append(aside)
            best = max(best, aside, key=lambda place: place.score)
        elsewhere = [place.score for place in places + left if self.moved(place.matrix, best.matrix) > _APART]
        return best, max(elsewhere, default=0.0)

    def _aside(self, matrix: np.ndarray, model: str) -> Optional[_Place]:
        """Where another shift of the whole picture fits better than the place that the steps came to, which may be a
        fence one post too far.
        """
        aligned = align(self.first, self.second, matrix, WORKING_WIDTH, WIDE)
        shift = nearby_shift(aligned, int(_ASIDE * WORKING_WIDTH))
        if np.hypot(*shift) <= _STAYS:
            return None
        move = np.eye(3)
        move[:2, 2] = shift / aligned.factor
        simple = model if model == 'translation' else 'similarity'
        found = refine(self.first, self.second, move @ matrix, simple, FROM_NEAR)
        found = refine(self.first, self.second, found, model, TO_THE_END[1:])
        return _Place(self.score(found, (160, 320)), found)

    def _rough_places(self, model: str, scales: np.ndarray, max_shift: float) -> List[_Place]:
        """Candidates of all searches, refined and rated at a width of 160, best first."""
        degrees, simple = ((0.0,), model) if model == 'translation' else (DEGREES, 'similarity')
        kept: List[np.ndarray] = []
        places: List[_Place] = []
        for start in _STARTS:
            found = search(self.first, self.second, scales, degrees, max_shift, start.width)
            most = len(kept) + start.count
            for candidate in sorted(found, key=lambda one: _PRIOR * self.moved(one.matrix) - one.score):
                if len(kept) == most:
                    break
                if all(self.moved(candidate.matrix, other) > _APART for other in kept):
                    kept.append(candidate.matrix)
                    matrix = refine(self.first, self.second, candidate.matrix, simple, start.levels)
                    places.append(_Place(self.score(matrix, (160,)), matrix))
        return sorted(places, key=lambda place: -place.score)

    def check(self, best: _Place, runner_up: float, model: str) -> Checks:
        """The figures that the gate looks at."""
        windows = window_agreement(align(self.first, self.second, best.matrix, 160))
        back = refine(self.second, self.first, np.linalg.inv(best.matrix), model, FROM_FAR[1:])
        there_and_back = self.moved(np.linalg.inv(back), best.matrix) * WORKING_WIDTH
        scale = np.sqrt(abs(np.linalg.det(best.matrix[:2, :2])) / abs(np.linalg.det(self.rest[:2, :2])))
        return Checks(
            similarity=float(np.mean([self.likeness(best.matrix, width) for width in (160, 320)])),
            gain=best.score - self.score(self.rest, (160, 320)),
            lead=best.score - runner_up,
            windows=windows.share,
            window_distance=windows.distance,
            contrast=windows.contrast,
            window_count=windows.count,
            doubt=2 * windows.doubt,
            round_trip=there_and_back,
            overlap=self.overlap(best.matrix),
            scale=float(scale),
            movement=self.moved(best.matrix),
        )
