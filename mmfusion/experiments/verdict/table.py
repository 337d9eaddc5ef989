"""The numbers of a verdict as one csv file, a line for each number with its interval."""

from pathlib import Path
from typing import Iterator, Union

from mmfusion.fileio import write_csv

from .report import Report
from .resampling import Interval, spread

FIELDS = (
    'kind',
    'task',
    'metric',
    'group',
    'row',
    'against',
    'seeds',
    'value',
    'spread',
    'low',
    'high',
    'low_all_pairs',
    'high_all_pairs',
    'p',
    'p_adjusted',
    'different',
)


def write_table(report: Report, path: Union[str, Path]) -> None:
    """Write the file, whole or not at all; a value that does not apply is empty.

    ``kind`` is ``value`` (a row), ``seed`` (one of its seeds), ``difference`` (``row`` minus ``against``), ``group`` (a
    row on part of the test set), ``error`` (what a type of errors costs) or ``picture`` (a metric of the fused
    pictures).
    """
    write_csv(str(path), list(_lines(report)), FIELDS)


def _lines(report: Report) -> Iterator[dict]:
    for task in report.tasks:
        for metric, intervals in task.metrics.items():
            for row, interval in intervals.items():
                known = spread(task.study.rows[row]) if metric == task.metric else None
                yield dict(
                    kind='value',
                    task=task.task,
                    metric=metric,
                    row=row,
                    seeds=len(report.seeds[row]),
                    **_interval(interval),
                    spread='' if known is None else _number(known),
                )
        for row, sampled in task.study.rows.items():
            for seed, value in zip(report.seeds[row], sampled.values):
                yield dict(kind='seed', task=task.task, metric=task.metric, row=row, group=seed, value=_number(value))
        for pair in task.comparisons:
            yield dict(
                kind='difference',
                task=task.task,
                metric=task.metric,
                row=pair.a,
                against=pair.b,
                **_interval(pair.difference),
                low_all_pairs=_number(pair.low),
                high_all_pairs=_number(pair.high),
                p=_number(pair.p),
                p_adjusted=_number(pair.p_adjusted),
                different='yes' if pair.different else 'no',
            )
        for kind, groups in task.groups.items():
            for group, intervals in groups.items():
                for row, interval in intervals.items():
                    yield dict(
                        kind='group',
                        task=task.task,
                        metric=task.metric,
                        group=f'{kind}: {group}',
                        row=row,
                        **_interval(interval),
                    )
        for row, gains in task.gains.items():
            for name, gain in gains.items():
                yield dict(kind='error', task=task.task, metric='dAP50', group=name, row=row, value=_number(gain))
    for row, cost in report.pictures.items():
        for name, value in {**cost.values, 'negative': cost.negative}.items():
            yield dict(kind='picture', metric=name, row=row, value=_number(value))


def _interval(interval: Interval) -> dict:
    return dict(value=_number(interval.value), low=_number(interval.low), high=_number(interval.high))


def _number(value: float) -> str:
    return f'{value:.6g}' if value == value else ''
