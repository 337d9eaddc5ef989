"""Pictures that are there twice, and scenes that are in two splits."""

import hashlib
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from mmfusion.fileio.errors import PairDataError

from ..check import CHECKS, Case, Check, Finding, Verdict
from ..loaded_pair import LoadedPair
from ..matching import match_features
from ..pairs import PairEntry
from .tones import need_content

_COARSE = 4.0  # of the 32x24 picture: what is wider is light and sky, which strangers share
_CANDIDATE = 0.42  # similarity from which on two pairs are compared closely
_SAME_PLACE = 7.0  # noise levels
_NEARLY = 0.97  # similarity of pictures of which one may be a copy of the other
_COPY = 2.5  # largest difference of 32x24 pictures of a copy, gray levels, once brightness and contrast are the same
_CLOSE_LOOKS = 3000


class Sight(NamedTuple):
    """What tells a pair from others.

    Attributes:
        hashes: Of the pixels of both images.
        scene: (2 * 768, ) small pictures without their coarse parts, norm 1.
        small: (2, 24, 32) small pictures.
    """

    hashes: Tuple[str, str]
    scene: np.ndarray
    small: np.ndarray


def sight_of(pair: LoadedPair) -> Sight:
    """Hashes and small pictures of a pair.

    Raises:
        NotJudged: An image shows nothing, so that all such would be alike.
    """
    need_content(pair)
    hashes = tuple(
        hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest() for image in pair.images
    )
    parts = []
    for small in pair.small:
        part = small - cv2.GaussianBlur(small, (0, 0), _COARSE)
        part = part - part.mean()
        parts.append(part.ravel() / max(float(np.linalg.norm(part)), 1e-6))
    scene = np.concatenate(parts) / np.sqrt(2)
    return Sight(hashes, scene.astype(np.float32), np.stack(pair.small).astype(np.float16))


def similar_pairs(cases: Sequence[Case], least: float, across: bool) -> Iterator[Tuple[float, int, int]]:
    """(similarity, index, index) of pairs that look alike, within sets or across them.

    Args:
        cases: Facts are :class:`Sight`.
        least: Least similarity.
        across: Of two sets, otherwise of one.
    """
    scenes = np.stack([case.fact.scene for case in cases])
    names = {name: number for number, name in enumerate(dict.fromkeys(case.entry.set for case in cases))}
    sets = np.array([names[case.entry.set] for case in cases])
    for start in range(0, len(cases), 512):  # by blocks: all at once take too much memory
        similarity = scenes[start : start + 512] @ scenes.T
        wanted = (sets[start : start + 512, None] != sets[None]) == across
        for row, column in zip(*np.nonzero((similarity >= least) & wanted)):
            if column > row + start:
                yield float(similarity[row, column]), row + start, column


@CHECKS.register_module(name='duplicates')
class DuplicatesCheck(Check):
    """Pairs of one set that share an image, or of which one is a copy of the other."""

    name = 'duplicates'
    title = 'pictures that are there twice'
    measures = (
        'equality of the pixels; for copies that were written anew, the largest difference of the pictures at 32x24 '
        'pixels, gray levels'
    )
    threshold = _COPY
    remedy = 'keep one of them; two pairs that share one image alone have a wrong partner'
    severity = 'harmful'

    def look(self, pair: LoadedPair) -> Sight:
        """Hashes and small pictures."""
        return sight_of(pair)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Equal images first, then copies of both."""
        seen: Dict[Tuple[str, int, str], Case] = {}
        told = set()
        for case in cases:
            twins: Dict[PairEntry, List[str]] = {}
            for source, digest in enumerate(case.fact.hashes):
                twin = seen.setdefault((case.entry.set, source, digest), case)
                if twin is not case:
                    twins.setdefault(twin.entry, []).append(case.entry.modalities[source])
            for twin, sources in twins.items():
                what = 'both images are' if len(sources) == 2 else f'the {sources[0]} image is'
                told.add(frozenset((case.entry, twin)))
                yield self.finding(
                    case.entry,
                    f'{what} those of {twin.label}'.replace('is those', 'is that'),
                    0.0,
                    twin,
                    badness=10 + len(sources),
                )
        for _, row, column in similar_pairs(cases, _NEARLY, across=False):
            one, other = cases[row], cases[column]
            if frozenset((one.entry, other.entry)) in told:
                continue
            difference = copy_difference(one.fact.small, other.fact.small)
            if difference <= self.threshold:
                message = f'a copy of {one.entry.label}, written anew (largest difference {difference:.1f} levels)'
                yield self.finding(other.entry, message, difference, one.entry, badness=self.threshold - difference)


def copy_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two small pairs of pictures, gray levels; the pictures of a copy differ nowhere."""
    return float(np.abs(one.astype(np.float32) - other.astype(np.float32)).max())


@CHECKS.register_module(name='splits')
class SplitsCheck(Check):
    """The same pair or the same scene in two sets, such as train and test."""

    name = 'splits'
    title = 'the same scene in two splits'
    measures = (
        'agreement of the edges of two visible and of two infrared images, in noise levels, where small pictures of '
        'both look alike'
    )
    threshold = _SAME_PLACE
    remedy = (
        'split by scenes, not by frames (mmfusion split-m3fd shows how): a test on scenes of the training says little'
    )
    severity = 'serious'

    def look(self, pair: LoadedPair) -> Sight:
        """Hashes and small pictures."""
        return sight_of(pair)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """The closest pair of another set, where it is of the same scene."""
        if len({case.entry.set for case in cases}) < 2:
            return
        closest: Dict[int, Finding] = {}
        first_seen: Dict[Tuple[int, str], int] = {}
        for index, case in enumerate(cases):
            for source, digest in enumerate(case.fact.hashes):
                twin = first_seen.setdefault((source, digest), index)
                if cases[twin].entry.set != case.entry.set:
                    message = (
                        f'its {case.entry.modalities[source]} image is in {cases[twin].entry.label} too, pixel by pixel'
                    )
                    closest[index] = self.finding(case.entry, message, None, cases[twin].entry, badness=100)
        looks = 0
        features: Dict[int, tuple] = {}
        for similarity, row, column in sorted(similar_pairs(cases, _CANDIDATE, across=True), reverse=True):
            if column in closest or looks >= _CLOSE_LOOKS:
                continue
            looks += 1
            agreement = same_place(cases[row].entry, cases[column].entry, features, row, column)
            if agreement >= self.threshold:
                message = (
                    f'the scene of {cases[row].entry.label} (agreement {agreement:.1f} noise levels, '
                    f'similarity {similarity:.2f})'
                )
                closest[column] = self.finding(
                    cases[column].entry, message, agreement, cases[row].entry, badness=min(99.0, agreement)
                )
        yield from closest.values()


def same_place(one: PairEntry, other: PairEntry, cache: Dict[int, tuple], row: int, column: int) -> float:
    """The smaller agreement of the two visible and of the two infrared images, in noise levels; 0 where a file cannot
    be read.
    """
    if len(cache) > 200:
        cache.clear()
    for index, entry in ((row, one), (column, other)):
        if index not in cache:
            try:
                cache[index] = LoadedPair(entry).features
            except PairDataError:  # the check of files tells
                cache[index] = ()
    pairs = list(zip(cache[row], cache[column]))
    if not pairs or any(first.shape != second.shape for first, second in pairs):
        return 0.0
    return min(match_features(first, second).best for first, second in pairs)
