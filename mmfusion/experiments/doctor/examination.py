"""Examination: every check looks at every pair, in worker processes, and then judges all of them together."""

import itertools
import multiprocessing
import signal
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import cv2

from mmfusion.fileio.errors import PairDataError
from mmfusion.utils.errors import UserError
from mmfusion.utils.progress import progress_bar

from .check import SEVERITIES, Case, Check, Finding, NotJudged, Unjudged, build_checks
from .loaded_pair import LoadedPair
from .pairs import PairEntry

AHEAD = 4  # pairs per worker that wait or are under way
UNREADABLE = 'a file cannot be read'
_checks: List[Check] = []  # of a worker process


class Examination(NamedTuple):
    """What was examined and found.

    Attributes:
        entries: All pairs.
        checks: The checks, the most serious first.
        findings: Faults, the worst first.
        unjudged: Pairs that a check says nothing about, which does not mean that they are sound.
        seconds: Wall time.
    """

    entries: List[PairEntry]
    checks: List[Check]
    findings: List[Finding]
    unjudged: List[Unjudged]
    seconds: float

    def judged(self, check: str) -> int:
        """Number of pairs that a check judged."""
        return len(self.entries) - len({each.entry for each in self.unjudged if each.check == check})

    def reasons(self, check: str) -> Dict[str, int]:
        """Why a check did not judge, with the numbers of pairs, the most frequent first."""
        return dict(Counter(each.reason for each in self.unjudged if each.check == check).most_common())

    def found_by(self, check: str) -> List[Finding]:
        """Findings of one check, the worst first."""
        return [finding for finding in self.findings if finding.check == check]

    def sets(self) -> Dict[str, int]:
        """Number of pairs by set."""
        return dict(Counter(entry.set for entry in self.entries))


def add_checks(files: Sequence[Union[str, Path]]) -> None:
    """Run Python files that register checks.

    Raises:
        UserError: A file does not exist or cannot be run.
    """
    for path in files:
        spec = spec_from_file_location(f'mmfusion_doctor_{Path(path).stem}', path)
        if spec is None or not Path(path).is_file():
            raise UserError(f'{path} is no Python file with checks')
        try:
            spec.loader.exec_module(module_from_spec(spec))
        except Exception as error:  # it is a program of the user, which may raise anything
            raise UserError(f'{path} cannot be run: {type(error).__name__}: {error}') from error


def look_at(entry: PairEntry, checks: Sequence[Check]) -> Dict[str, Any]:
    """What each check measures in a pair: its fact, or the reason of :class:`NotJudged` as an instance of it."""
    pair = LoadedPair(entry)
    facts: Dict[str, Any] = {}
    for check in checks:
        try:
            facts[check.name] = check.measure(pair)
        except NotJudged as reason:
            facts[check.name] = NotJudged(*reason.args)  # without the traceback, which holds the images
        except PairDataError:
            facts[check.name] = NotJudged(UNREADABLE)
        except Exception as error:
            raise RuntimeError(f'check {check.name!r} failed at {entry.label}: {error}') from error
    return facts


def judge_all(
    entries: Sequence[PairEntry], facts: Sequence[Dict[str, Any]], checks: Sequence[Check]
) -> Tuple[list, list]:
    """Findings, the worst first, and what was not judged.

    Args:
        entries: The pairs.
        facts: Results of :func:`look_at`, in the same order.
        checks: The checks.
    """
    findings: List[Finding] = []
    unjudged: List[Unjudged] = []
    for check in checks:
        cases = []
        for entry, fact in zip(entries, facts):
            value = fact[check.name]
            if isinstance(value, NotJudged):
                unjudged.append(Unjudged(check.name, entry, str(value)))
            else:
                cases.append(Case(entry, value))
        verdicts = list(check.judge(cases)) if cases else []
        unjudged += [verdict for verdict in verdicts if isinstance(verdict, Unjudged)]
        found = [verdict for verdict in verdicts if isinstance(verdict, Finding)]
        findings += sorted(found, key=lambda finding: (-finding.badness, finding.entry.label))
    rank = {check.name: (SEVERITIES.index(check.severity), number) for number, check in enumerate(checks)}
    return sorted(findings, key=lambda finding: rank[finding.check]), unjudged


def examine(
    entries: Sequence[PairEntry],
    checks: Optional[Sequence[str]] = None,
    skip: Sequence[str] = (),
    workers: int = 1,
    add: Sequence[Union[str, Path]] = (),
    progress: bool = False,
) -> Examination:
    """Examine pairs.

    Args:
        entries: Of :func:`~mmfusion.experiments.doctor.pairs_of_config` or
            :func:`~mmfusion.experiments.doctor.pairs_of_folders`.
        checks: Names of checks; all by default.
        skip: Names of checks to leave out.
        workers: Processes of one thread each; 1 works in this process.
        add: Python files that register more checks.
        progress: Draw a progress bar.

    Raises:
        UserError: A check is unknown, or a worker process was killed.
    """
    start = time.perf_counter()
    if workers < 1:
        raise UserError(f'workers must be at least 1, got {workers}')
    add_checks(add)
    chosen = build_checks(checks, skip)
    entries = list(entries)
    facts: List[Optional[dict]] = [None] * len(entries)
    with progress_bar(len(entries), 'examining', shown=progress) as bar:
        for index, fact in _look_at_all(entries, chosen, min(workers, len(entries)), add):
            facts[index] = fact
            bar.update()
    findings, unjudged = judge_all(entries, facts, chosen)
    return Examination(entries, chosen, findings, unjudged, time.perf_counter() - start)


def _look_at_all(entries: List[PairEntry], checks: List[Check], workers: int, add: Sequence) -> Iterator[tuple]:
    if workers <= 1:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # with several, they get in each other's way on pictures of this size
        try:
            for index, entry in enumerate(entries):
                yield index, look_at(entry, checks)
        finally:
            cv2.setNumThreads(threads)
        return
    names = [check.name for check in checks]
    work = enumerate(entries)
    # spawned, not forked: a fork copies the state of thread pools without their threads
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context('spawn'), _start_worker, (names, [str(path) for path in add])
    )
    try:
        pending = {pool.submit(_look, index, entry) for index, entry in itertools.islice(work, AHEAD * workers)}
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            pending |= {pool.submit(_look, index, entry) for index, entry in itertools.islice(work, len(done))}
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise UserError('a worker process was killed, perhaps out of memory; use fewer --workers') from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(names: List[str], add: List[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process stops the workers
    cv2.setNumThreads(1)
    add_checks(add)
    _checks[:] = build_checks(names)


def _look(index: int, entry: PairEntry) -> Tuple[int, Dict[str, Any]]:
    return index, look_at(entry, _checks)
