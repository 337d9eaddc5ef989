"""Pairs that do not show the same places: misregistered ones, and partners that belong to another pair."""

from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from mmfusion.fileio.errors import PairDataError

from ..check import CHECKS, Case, Check, NotJudged, Unjudged, Verdict, by_set
from ..loaded_pair import LoadedPair
from ..matching import AT_REST, Match, match_features, place_features
from ..pairs import PairEntry
from .tones import need_content

FOUND = 4.7  # noise levels from which on a place counts as found
CERTAIN = 5.6  # where hundreds of places are compared
_BEYOND_DOUBT = 8.0  # strangers never reach this
LEAD = 0.4  # of the better place over that at rest
_TYPICAL = 0.8  # of the pairs of a set match, where one that does not is suspicious
_LEAST_PAIRS = 5
_CANDIDATES = 60  # other pairs that a partner is looked for in
_CLOSE_LOOKS = 3  # of them, those that look most alike
_SEARCHES = 100_000  # comparisons in all


class Place(NamedTuple):
    """What :class:`RegistrationCheck` and :class:`PartnerCheck` keep of a pair: the match, and pixels of the first
    image per working pixel.
    """

    match: Match
    pixels: float


def place_of(pair: LoadedPair) -> Place:
    """Compare the images of a pair.

    Raises:
        NotJudged: One of them shows nothing, or their shapes differ so much that nobody knows how they should lie.
    """
    need_content(pair)
    (height, width), (rows, columns) = (image.shape[:2] for image in pair.images)
    if abs(np.log(height * columns / (width * rows))) > 0.03:
        raise NotJudged('images of other proportions')
    return Place(pair.match, max(height, width) / max(pair.working[0].shape))


def is_elsewhere(match: Match, least: float = FOUND) -> bool:
    """Whether the second image fits, but not where it lies; what agrees less than ``least`` there does not fit at
    rest.
    """
    return (
        match.moved > AT_REST
        and match.best >= (CERTAIN if match.rest < least else FOUND)
        and match.best > match.rest + LEAD
    )


@CHECKS.register_module(name='registration')
class RegistrationCheck(Check):
    """A pair whose second image fits better when it is moved, turned or scaled."""

    name = 'registration'
    title = 'images that do not lie on each other'
    measures = 'mean movement of the corners to where the edges of both images agree best, part of the longer side'
    threshold = AT_REST / 256
    remedy = 'register the pairs: mmfusion register FIRST SECOND, or LoadPair(registration=...)'
    severity = 'harmful'

    def look(self, pair: LoadedPair) -> Place:
        """Compare the images."""
        return place_of(pair)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Pairs that fit elsewhere, and those that do not fit where they lie although their set usually does."""
        for group in by_set(cases).values():
            typical, matched = is_typical(group)
            for case in group:
                match, pixels = case.fact
                if is_elsewhere(match) and (typical or match.best >= _BEYOND_DOUBT):
                    yield self.finding(
                        case.entry, _describe(match, pixels), match.moved / 256, badness=1 + match.moved / 256
                    )
                elif match.rest < FOUND and typical:
                    message = (
                        f'the edges do not agree as the images lie ({match.rest:.1f} noise levels; '
                        f'{matched:.0%} of the set have '
                        f'{FOUND:g} or more): moved too far to be found, or not of one scene'
                    )
                    yield self.finding(case.entry, message, match.rest, badness=1 - match.rest / FOUND)
                elif match.rest < FOUND or is_elsewhere(match):
                    yield Unjudged(self.name, case.entry, 'the images of this set share too little')


def is_typical(group: Sequence[Case], least: float = FOUND) -> Tuple[bool, float]:
    """Whether the pairs of a set agree as a rule, so that one that does not is suspicious; and the part that does."""
    matched = float(np.mean([case.fact.match.rest >= least or is_elsewhere(case.fact.match, least) for case in group]))
    return matched >= _TYPICAL and len(group) >= _LEAST_PAIRS, matched


def _least_agreement(group: Sequence[Case]) -> float:
    """What a pair of this set has to reach: more where pairs agree far better as a rule, as strangers at times pass the
    threshold.
    """
    usual = float(np.median([case.fact.match.rest for case in group]))
    return CERTAIN if usual >= 2 * FOUND and len(group) >= _LEAST_PAIRS else FOUND


def _describe(match: Match, pixels: float) -> str:
    x, y = (round(value * pixels) for value in match.shift)
    size = f', scale {match.scale:.2f}' if abs(match.scale - 1) > 0.01 else ''
    turn = f', turn {match.degrees:.0f} degrees' if abs(match.degrees) >= 1 else ''
    return (
        f'the second image lies off by about {match.moved * pixels:.0f} pixels: it fits when moved by ({x}, '
        f'{y}){size}{turn} (agreement {match.best:.1f} noise levels there, {match.rest:.1f} as it is)'
    )


@CHECKS.register_module(name='partner')
class PartnerCheck(Check):
    """An image whose partner belongs to another pair."""

    name = 'partner'
    title = 'partners that belong to other pairs'
    measures = (
        'agreement of the edges of both images, in noise levels of wrong places; then that with the partners of other '
        'such pairs'
    )
    threshold = FOUND
    remedy = (
        'compare the names and numbers of the two folders; a shift by one, or a list sorted differently, '
        'is the usual cause'
    )
    severity = 'serious'

    def look(self, pair: LoadedPair) -> Place:
        """Compare the images."""
        return place_of(pair)

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Pairs that fit nowhere, if those of their set usually do, or if the partner is found elsewhere."""
        budget = _Search(_SEARCHES)
        for group in by_set(cases).values():
            least = _least_agreement(group)
            lost = [case for case in group if case.fact.match.rest < least and case.fact.match.best < _BEYOND_DOUBT]
            typical, matched = is_typical(group, least)
            for case in lost:
                rest = case.fact.match.rest
                other, agreement = budget.best_partner(case, group, lost)
                if other is not None:
                    message = (
                        f'its second image is that of another scene (agreement {rest:.1f} noise levels); '
                        f'{other.label} has one that fits ({agreement:.1f})'
                    )
                    yield self.finding(case.entry, message, rest, other, badness=10 + agreement)
                elif is_elsewhere(case.fact.match, least):
                    continue  # moved, which the check of registration tells
                elif typical:
                    message = (
                        f'the images share nothing (agreement {rest:.1f} noise levels; {matched:.0%} of the set have '
                        f'more than {least:g}), '
                        'and no other pair has one that fits'
                    )
                    yield self.finding(case.entry, message, rest, badness=FOUND - rest)
                else:
                    yield Unjudged(self.name, case.entry, 'images of this set share too little')


class _Search:
    """Second images of other pairs, compared with the first one of a pair that has lost its own."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.features: Dict[Tuple[str, PairEntry], np.ndarray] = {}

    def best_partner(self, case: Case, group: List[Case], lost: List[Case]):
        """The entry whose second image fits, and how well; (None, 0) where there is none."""
        names = [other.entry for other in group]
        place = names.index(case.entry)
        near = names[max(0, place - 3) : place + 4]
        others = [other.entry for other in lost]
        start = others.index(case.entry)
        others = (others[start:] + others[:start])[: _CANDIDATES // 2] + (others[:start][::-1])[: _CANDIDATES // 2]
        first = self._of(case.entry, 'first')
        alike = []
        for entry in dict.fromkeys([*near, *others]):
            second = None if entry == case.entry or self.left <= 0 else self._of(entry, 'second')
            if first is not None and second is not None and first.shape == second.shape:
                self.left -= 1
                alike.append((float(np.vdot(first, second)), entry, second))
        best, found = None, 0.0
        for _, entry, second in sorted(alike, key=lambda each: -each[0])[:_CLOSE_LOOKS]:
            agreement = match_features(first, second).rest
            if agreement > found:
                best, found = entry, agreement
        return (best, found) if found >= CERTAIN else (None, 0.0)

    def _of(self, entry: PairEntry, source: str):
        if (source, entry) not in self.features:
            if len(self.features) > 400:  # about 300 MB
                self.features.clear()
            try:
                pair = LoadedPair(entry)
                self.features[source, entry] = place_features(pair.working[source == 'second'])
            except PairDataError:  # the check of files tells
                self.features[source, entry] = None
        return self.features[source, entry]
