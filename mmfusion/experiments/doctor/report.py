"""Reports of an examination: text, rows for a csv file, and plain values for JSON."""

from pathlib import Path
from typing import Dict, List, Optional, Union

from mmfusion.fileio import write_csv

from .check import Check, Finding
from .examination import Examination

FIELDS = (
    'severity',
    'check',
    'set',
    'name',
    'message',
    'value',
    'threshold',
    'other',
    'first',
    'second',
    'annotation',
    'remedy',
)
_WORDS = dict(serious='SERIOUS', harmful='HARMFUL', look='LOOK AT')


def row_of(finding: Finding, check: Check) -> Dict[str, object]:
    """A finding as a row, with the fields :data:`FIELDS`."""
    entry = finding.entry
    return dict(
        severity=check.severity,
        check=check.name,
        set=entry.set,
        name=entry.name,
        message=finding.message,
        value='' if finding.value is None else round(float(finding.value), 4),
        threshold=check.threshold,
        other=finding.other.label if finding.other else '',
        first=entry.first or '',
        second=entry.second or '',
        annotation=entry.annotation or entry.class_map or '',
        remedy=check.remedy,
    )


def rows_of(examination: Examination) -> List[Dict[str, object]]:
    """All findings as rows, the worst first."""
    checks = {check.name: check for check in examination.checks}
    return [row_of(finding, checks[finding.check]) for finding in examination.findings]


def write_rows(path: Union[str, Path], examination: Examination) -> None:
    """Write the findings to a csv file, whole or not at all."""
    write_csv(path, rows_of(examination), FIELDS)


def to_dict(examination: Examination) -> dict:
    """Plain values: what was looked at, each check with how many pairs it judged, and all findings."""
    return dict(
        pairs=len(examination.entries),
        sets=examination.sets(),
        seconds=round(examination.seconds, 2),
        checks=[
            dict(
                name=check.name,
                title=check.title,
                measures=check.measures,
                threshold=check.threshold,
                severity=check.severity,
                judged=examination.judged(check.name),
                found=len(examination.found_by(check.name)),
                not_judged=examination.reasons(check.name),
            )
            for check in examination.checks
        ],
        findings=[
            {key: value for key, value in row.items() if key not in ('threshold', 'remedy')}
            for row in rows_of(examination)
        ],
    )


def looked_at(examination: Examination) -> str:
    """What was looked at, in a sentence without its end."""
    entries, sets = examination.entries, examination.sets()
    parts = [f'{len(entries)} pairs' + (f' in {len(sets)} sets ({_listed(sets)})' if len(sets) > 1 else '')]
    boxes = sum(len(entry.boxes or ()) for entry in entries)
    maps = sum(entry.class_map is not None for entry in entries)
    parts += [f'{boxes} boxes'] if any(entry.boxes is not None for entry in entries) else []
    parts += [f'{maps} class maps'] if maps else []
    return ', '.join(parts)


def _listed(counts: Dict[str, int]) -> str:
    return ', '.join(f'{name} {count}' for name, count in counts.items())


def text_of(examination: Examination, most: int = 5) -> str:
    """The findings in words, the worst first, and what was not judged.

    Args:
        examination: What was found.
        most: Pairs that are listed for each check.
    """
    found = examination.findings
    concerned = len({finding.entry for finding in found})
    head = f'examined {looked_at(examination)} in {examination.seconds:.0f} s: '
    lines = [head + (f'{len(found)} findings in {concerned} pairs' if found else 'nothing found')]
    for check in examination.checks:
        findings = examination.found_by(check.name)
        if not findings:
            continue
        lines += [
            '',
            f'{_WORDS[check.severity]}  {check.name}: {check.title}, {len(findings)} of '
            f'{examination.judged(check.name)} pairs',
        ]
        lines.append(f'  what to do: {check.remedy}')
        width = max(len(finding.entry.label) for finding in findings[:most])
        lines += [f'    {finding.entry.label:{width}}  {finding.message}' for finding in findings[:most]]
        if len(findings) > most:
            lines.append(f'    and {len(findings) - most} more (--csv and --html have all)')
    judged = {check.name: examination.judged(check.name) for check in examination.checks}
    sound = [name for name, count in judged.items() if count and not examination.found_by(name)]
    if sound:
        lines += ['', 'judged and nothing found: ' + ', '.join(f'{name} ({judged[name]})' for name in sound)]
    silent = [line for check in examination.checks if (line := not_judged(examination, check))]
    if silent:
        lines += ['', 'not judged, which is not sound:', *(f'  {line}' for line in silent)]
    return '\n'.join(lines)


def not_judged(examination: Examination, check: Check) -> Optional[str]:
    """Pairs that a check did not judge, and why; None where it judged all."""
    reasons = examination.reasons(check.name)
    if not reasons:
        return None
    return f'{check.name}: ' + '; '.join(f'{count} pairs, {reason}' for reason, count in reasons.items())
