"""Checking a result: its manifest, those of the runs that it is drawn from, and a sample of its numbers."""

import contextlib
import os
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

from mmfusion.manifest import Places, read_manifest
from mmfusion.manifest.content import has_manifest, read_places
from mmfusion.manifest.facts import code

from .hashes import check_config, check_files, check_outputs, check_samples, check_versions, check_weights
from .recompute import recompute


class Finding(NamedTuple):
    """Something that is not as a manifest states.

    Attributes:
        result: Folder and entry.
        text: What it is.
    """

    result: str
    text: str


class Verification(NamedTuple):
    """What a check has found.

    Attributes:
        findings: What differs; empty when everything is as stated.
        notes: What was looked at, and what a reader should know besides.
        entries: Number of results that were checked.
    """

    findings: List[Finding]
    notes: List[str]
    entries: int


def verify(
    folder: Union[str, Path],
    sample: Optional[int] = 3,
    seed: int = 0,
    roots: Optional[Dict[str, str]] = None,
    other_versions: bool = False,
) -> Verification:
    """Check the manifest of a folder: versions, config, files, samples and labels, weights, outputs, and a sample of
    the numbers.

    Every byte of data and weights is read; the cache of hashes is not used.

    Args:
        folder: Folder with ``manifest.json``.
        sample: Images of each result that are computed again; None for all, 0 for none.
        seed: Seed that draws them.
        roots: Folders by name (``'@MSRS'``) that lie elsewhere than where the result was made.
        other_versions: Note other versions of packages without counting them as findings.

    Returns:
        Verification: What differs.

    Raises:
        UserError: There is no manifest, a damaged one, or data are not on this machine.
    """
    findings: List[Finding] = []
    notes: List[Finding] = []
    folder = Path(folder).resolve()
    todo, seen, entries = [folder], set(), 0
    while todo:
        current = todo.pop(0)
        if current in seen:
            continue
        seen.add(current)
        if current != folder and not has_manifest(current):
            findings.append(Finding(os.path.relpath(current, folder), 'its manifest is gone, or was never written'))
            continue
        for key, entry in read_manifest(current).items():
            where = f'{os.path.relpath(current, folder)}: {key}' if current != folder else key
            places = read_places(current, key)
            places.folders.update(roots or {})
            with _working_in(places.base):  # settings name paths relative to it
                texts, remarks = _check(entry, places, current, sample, seed, other_versions)
            findings += [Finding(where, text) for text in texts]
            notes += [Finding(where, remark) for remark in remarks]
            todo += [(current / run).resolve() for run in entry.get('runs', ())]
            entries += 1
    return Verification(findings, _by_text(notes), entries)


@contextlib.contextmanager
def _working_in(folder: str) -> Iterator[None]:
    """Be in the folder that a result was made in, where there is still one."""
    before = os.getcwd()
    if os.path.isdir(folder):
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _check(entry: dict, places: Places, folder: Path, sample: Optional[int], seed: int, other_versions: bool) -> tuple:
    changed = list(check_versions(entry))
    texts = [] if other_versions else changed
    notes = changed if other_versions else []
    now, before = code(), entry.get('code')
    if before and now and before != now:
        notes.append(
            f'made at commit {before["commit"][:12]}{" with changes" if before["dirty"] else ""}, this is '
            f'{now["commit"][:12]}{" with changes" if now["dirty"] else ""}'
        )
    if entry.get('late'):
        notes.append('measured before its manifest was written: versions and commit are those of the writing')
    texts += check_config(entry)
    files = list(check_files(entry, places))
    texts += files
    texts += check_samples(entry, places)
    weights = list(check_weights(entry, places))
    texts += weights
    texts += check_outputs(entry, folder)
    count = sum(
        part['count']
        for facts in entry.get('data', {}).values()
        for part in (facts if isinstance(facts, list) else [facts])
    )
    notes.append(
        f'{count} files of data, {len(entry.get("weights", {}))} of weights and {len(entry.get("outputs", {}))} of '
        f'output read'
    )
    if any('is gone' in text for text in [*files, *weights]):
        notes.append('nothing was computed again, since files are gone')
    else:
        outcome = recompute(entry, folder, places, sample, seed)
        texts += outcome.wrong
        notes += outcome.done
    return texts, notes


def format_verification(result: Verification) -> str:
    """Notes, findings, and the answer in the last line."""
    lines = [*result.notes, *(f'DIFFERS  {line}' for line in _by_text(result.findings))]
    what = f'{result.entries} result{"s" if result.entries != 1 else ""} checked'
    answer = f'{len(result.findings)} differences' if len(result.findings) != 1 else '1 difference'
    return '\n'.join([*lines, f'{what}: {answer if result.findings else "everything is as the manifest states"}'])


def _by_text(findings: Sequence[Finding], most: int = 3) -> List[str]:
    """A line each; what is said of more than ``most`` results, such as of one picture that a whole league has used, is
    said once.
    """
    groups: Dict[str, List[str]] = {}
    for finding in dict.fromkeys(findings):
        groups.setdefault(finding.text, []).append(finding.result)
    lines = []
    for text, results in groups.items():
        if len(results) > most:
            lines.append(f'{len(results)} results ({results[0]}, ..., {results[-1]}): {text}')
        else:
            lines += [f'{result}: {text}' for result in results]
    return lines
