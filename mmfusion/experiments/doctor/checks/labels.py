"""Labels: boxes that the images cannot hold, class maps that are pictures, names that nearly match."""

import difflib
from collections import Counter
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_class_map

from ..check import CHECKS, Case, Check, NotJudged, Verdict
from ..loaded_pair import LoadedPair

_TOLERANCE = 2.0  # pixels that a box may exceed the image, as the data sets have it
_IGNORED = 255
_SHORT = 4  # letters from which on one other letter counts as a slip


@CHECKS.register_module(name='annotations')
class AnnotationsCheck(Check):
    """Annotations that are missing or malformed, and boxes without area, outside the image, or given twice."""

    name = 'annotations'
    title = 'annotations that cannot be used'
    measures = 'whether the annotation can be read, its boxes have an area and lie inside the image (within 2 pixels)'
    threshold = _TOLERANCE
    remedy = 'correct the file; boxes beyond the image often belong to images of another size'
    severity = 'serious'

    def look(self, pair: LoadedPair) -> List[str]:
        """What is wrong, in sentences."""
        problems = [problem.message for problem in pair.entry.problems]
        if pair.entry.boxes is None:
            if not problems:
                raise NotJudged('no boxes')
            return problems
        height, width = pair.first.shape[:2]
        for (name, box), count in Counter(pair.entry.boxes).items():
            x1, y1, x2, y2 = box
            shown = (
                f'box ({x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}) of class {name!r}'
                if np.isfinite(box).all()
                else f'box of class {name!r}'
            )
            if not np.isfinite(box).all():
                problems.append(f'{shown} has a coordinate that is not finite')
            elif x2 <= x1 or y2 <= y1:
                problems.append(f'{shown} has no area')
            elif max(-x1, -y1, x2 - width, y2 - height) > self.threshold:
                problems.append(f'{shown} exceeds the image of {width}x{height} pixels')
            if count > 1:
                problems.append(f'{shown} is there {count} times')
        return problems

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Every pair with a problem."""
        for case in cases:
            if case.fact:
                more = f'; and {len(case.fact) - 3} more' if len(case.fact) > 3 else ''
                yield self.finding(case.entry, '; '.join(case.fact[:3]) + more, len(case.fact))


@CHECKS.register_module(name='class_maps')
class ClassMapsCheck(Check):
    """Class maps that are color pictures, hold numbers without a name, or have another size than the images."""

    name = 'class_maps'
    title = 'class maps that hold colors or unknown numbers'
    measures = 'channels and values of the class map, and its size'
    remedy = (
        'write a png of one channel with class numbers: look each color up in the palette of the set; '
        'never resize by interpolation'
    )
    severity = 'serious'

    def look(self, pair: LoadedPair) -> str:
        """What is wrong in a sentence, or nothing."""
        path = pair.entry.class_map
        if path is None:
            raise NotJudged('no class map')
        try:
            numbers = read_class_map(path)
        except PairDataError as error:
            return str(error)
        if numbers.shape != pair.first.shape[:2]:
            (height, width), (rows, columns) = pair.first.shape[:2], numbers.shape
            return f'the class map has {columns}x{rows} pixels, the images {width}x{height}'
        found = np.unique(numbers)
        known = pair.entry.class_numbers
        strange = [int(value) for value in found if value != _IGNORED and known is not None and value not in known]
        if strange:
            shown = ', '.join(map(str, strange[:8])) + (', ...' if len(strange) > 8 else '')
            return f'the class map holds the numbers {shown}; known are {min(known)} to {max(known)}'
        # without a list of numbers: gray levels of a picture that was colored, then turned gray
        if (
            known is None
            and len(found) > 1
            and found[found != _IGNORED].max(initial=0) >= 64
            and len(found) < found[found != _IGNORED].max() / 4
        ):
            return (
                f'the class map holds the {len(found)} numbers {", ".join(map(str, found[:8].tolist()))}...: '
                f'gray levels rather than classes'
            )
        return ''

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Every class map with a problem."""
        for case in cases:
            if case.fact:
                yield self.finding(case.entry, case.fact, badness=1)


@CHECKS.register_module(name='names')
class NamesCheck(Check):
    """Names of classes that nearly match another one: other case, plural, or one letter; and names that nobody
    knows.
    """

    name = 'names'
    title = 'names of classes that nearly match'
    measures = 'names of the annotations against those of the data set, or the rare against the frequent ones'
    threshold = 0.05
    remedy = 'write one name for one class; boxes of a name that is not known are errors or are left out'
    severity = 'serious'

    def look(self, pair: LoadedPair) -> Tuple[str, ...]:
        """Names of the boxes."""
        if pair.entry.boxes is None:
            raise NotJudged('no boxes')
        return tuple(name for name, _ in pair.entry.boxes)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Names that are not known, or rare and close to a frequent one."""
        counts = Counter(name for case in cases for name in case.fact)
        declared = {name for case in cases for name in case.entry.names}
        meant = {name: close_name(name, counts, declared, self.threshold) for name in counts}
        for case in cases:
            wrong = {name for name in case.fact if meant[name]}
            strange = {name for name in case.fact if declared and name not in declared and not meant[name]}
            if wrong:
                shown = ', '.join(f'{name!r} (perhaps {meant[name]!r})' for name in sorted(wrong))
                yield self.finding(case.entry, f'class {shown}', badness=2)
            elif strange:
                shown = ', '.join(map(repr, sorted(strange)))
                yield self.finding(
                    case.entry, f'class {shown} is not known; known are {", ".join(sorted(declared))}', badness=1
                )


def close_name(name: str, counts: Dict[str, int], declared: Sequence[str], rare: float) -> Optional[str]:
    """The name that is meant where a name is a slip of it; None where it is right, or not close to any.

    Args:
        name: A name of the annotations.
        counts: How often each name is there.
        declared: Names that are right; empty where that is not known.
        rare: A name is rare below this part of the count of the other.

    Examples:
        >>> close_name('Person', {'person': 900, 'Person': 3}, (), 0.05)
        'person'
        >>> close_name('bus', {'bus': 3, 'bump': 900}, (), 0.05) is None
        True
    """
    if name in declared:
        return None
    others = list(declared) or [other for other in counts if counts[name] < rare * counts[other]]
    for other in sorted(others, key=lambda each: -counts.get(each, 0)):
        if _plain(name) == _plain(other):
            return other
    close = [other for other in others if min(len(name), len(other)) >= _SHORT]
    found = difflib.get_close_matches(name.lower(), [other.lower() for other in close], 1, 0.8)
    return next((other for other in close if other.lower() == found[0]), None) if found else None


def _plain(name: str) -> str:
    """A name without case, separators and plural."""
    text = ''.join(letter for letter in name.lower() if letter.isalnum())
    return _PLURALS.get(
        text, text[:-1] if text.endswith('s') and len(text) > _SHORT - 1 and not text.endswith('ss') else text
    )


_PLURALS = {
    'people': 'person',
    'persons': 'person',
    'buses': 'bus',
    'bus': 'bus',
    'men': 'man',
    'women': 'woman',
    'children': 'child',
}
