"""Checks: what each measures in a pair, and how it judges the pairs of all sets together."""

from abc import ABC, abstractmethod
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Union

from mmengine.registry import Registry

from mmfusion.utils.errors import UserError

from .loaded_pair import LoadedPair
from .pairs import PairEntry

#: All checks by name. ``@CHECKS.register_module(name='my_check')`` adds one.
CHECKS = Registry('doctor check', scope='mmfusion', locations=['mmfusion.experiments.doctor.checks'])
#: How bad a fault is, the worst first.
SEVERITIES = ('serious', 'harmful', 'look')


class NotJudged(Exception):
    """A check cannot say anything about a pair; the message is the reason, in a few words, and the same for all pairs
    it holds for.
    """


class Case(NamedTuple):
    """A pair and what a check measured in it.

    Attributes:
        entry: The pair.
        fact: What :meth:`Check.look` returned.
    """

    entry: PairEntry
    fact: Any


class Finding(NamedTuple):
    """A fault.

    Attributes:
        check: Name of the check.
        entry: The pair.
        message: One sentence with figures.
        value: The figure that was compared with the threshold; None where there is none.
        other: Another pair that it concerns.
        badness: Larger is worse, among findings of one check.
    """

    check: str
    entry: PairEntry
    message: str
    value: Optional[float] = None
    other: Optional[PairEntry] = None
    badness: float = 0.0


class Unjudged(NamedTuple):
    """A pair that a check said nothing about.

    Attributes:
        check: Name of the check.
        entry: The pair.
        reason: A few words.
    """

    check: str
    entry: PairEntry
    reason: str


Verdict = Union[Finding, Unjudged]


class Check(ABC):
    """One fault: what is measured, from which value on it counts, what to do about it.

    :meth:`look` runs once for each pair, in a worker process, and returns something small. :meth:`judge` sees what was
    measured in all pairs. For a check that needs one number of one pair only, :meth:`look` returns the number and the
    rest is done here: above :attr:`threshold` it is a fault.

    Attributes:
        name: Its name in ``--checks``.
        title: The fault, in a few words.
        measures: What is measured, one sentence.
        threshold: From where on it is a fault; the unit is that of the measured figure.
        remedy: What to do about it, one sentence.
        severity: ``'serious'``, ``'harmful'`` or ``'look'``.
        modalities: Sources that it is made for; other pairs are not judged. Empty for any.
    """

    name = ''
    title = ''
    measures = ''
    threshold: float = 0.0
    remedy = ''
    severity = 'harmful'
    modalities: Sequence[str] = ()

    @abstractmethod
    def look(self, pair: LoadedPair) -> Any:
        """Measure one pair.

        Args:
            pair: The pair; its images are read when they are asked for.

        Returns:
            Anything that can be pickled, and small: it is kept for every pair.

        Raises:
            NotJudged: Nothing can be said about this pair.
            PairDataError: A file cannot be read, which the check ``files`` reports.
        """

    def judge(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Findings, and pairs that cannot be judged in the light of the others.

        Args:
            cases: All pairs that :meth:`look` measured, of all sets.
        """
        for case in cases:
            if case.fact > self.threshold:
                yield self.finding(case.entry, f'{case.fact:.3g}, more than {self.threshold:g}', case.fact)

    def finding(
        self,
        entry: PairEntry,
        message: str,
        value: Optional[float] = None,
        other: Optional[PairEntry] = None,
        badness: Optional[float] = None,
    ) -> Finding:
        """A finding of this check; the badness is the value where none is given."""
        return Finding(self.name, entry, message, value, other, float((value or 0.0) if badness is None else badness))

    def measure(self, pair: LoadedPair) -> Any:
        """:meth:`look`, for pairs of the modalities that the check is made for."""
        wanted = tuple(self.modalities)
        if wanted and pair.entry.modalities != wanted:
            raise NotJudged(f'made for {" and ".join(wanted)}, these are {" and ".join(pair.entry.modalities)}')
        return self.look(pair)


def by_set(cases: Iterable[Case]) -> Dict[str, List[Case]]:
    """Cases by the name of their set."""
    sets: Dict[str, List[Case]] = {}
    for case in cases:
        sets.setdefault(case.entry.set, []).append(case)
    return sets


def build_checks(names: Optional[Sequence[str]] = None, skip: Sequence[str] = ()) -> List[Check]:
    """Checks by name, the most serious first.

    Args:
        names: Names; all that are registered when None.
        skip: Names to leave out.

    Raises:
        UserError: A name is unknown, or nothing is left.
    """
    CHECKS.import_from_location()
    known = CHECKS.module_dict
    strange = [name for name in [*(names or ()), *skip] if name not in known]
    if strange:
        raise UserError(f'unknown checks: {", ".join(strange)}; there are {", ".join(sorted(known))}')
    chosen = [known[name]() for name in dict.fromkeys(names or known) if name not in skip]
    if not chosen:
        raise UserError('no check is left to run; leave some out of --skip')
    return sorted(chosen, key=lambda check: SEVERITIES.index(check.severity))
