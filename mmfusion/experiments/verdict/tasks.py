"""Judgment of one task: every row on all test images and on parts of them, and what follows."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .average_precision import average_precision, precision_curve
from .error_types import find_errors, mean_gain
from .judgment import Judgment, judge, judge_company
from .matching import SIZES, Matches
from .record import Record
from .resampling import Comparison, Interval, Sampled, Study
from .segmentation import intersection_over_union

#: Metrics of detection and the thresholds of overlap that they average over, by index.
DETECTION_METRICS: Dict[str, Tuple[int, ...]] = dict(mAP50=(0,), mAP75=(5,), mAP=tuple(range(10)))


class RowFacts(NamedTuple):
    """What the statistics need to know of a row.

    Attributes:
        title: How it is called.
        single: Whether it uses one source alone.
        untouched: Whether its task networks are as loaded.
        trains: Whether anything learns, so that seeds differ.
        together: The row that trains its task together with others and is the same otherwise, if there is one.
    """

    title: str
    single: bool
    untouched: bool = False
    trains: bool = True
    together: Optional[str] = None


class TaskReport(NamedTuple):
    """Everything about one task.

    Attributes:
        task: ``'detection'`` or ``'segmentation'``.
        metric: Name of the metric that is judged.
        study: All rows.
        comparisons: All pairs, by the metric.
        judgments: By ``'trained'`` and ``'untouched'``, as far as there are such rows.
        metrics: Intervals by metric and row.
        groups: Intervals of the metric by kind of group (``time``, ``size``, ``class``), group and row.
        gains: What each type of error costs, by row and type; detection only.
        curves: Precision at 101 recalls at an overlap of 0.5, mean over classes and seeds, by row; detection only.
        company: Whether it helps to train the task together with another, one sentence for each row that can tell.
    """

    task: str
    metric: str
    study: Study
    comparisons: List[Comparison]
    judgments: Dict[str, Judgment]
    metrics: Dict[str, Dict[str, Interval]]
    groups: Dict[str, Dict[str, Dict[str, Interval]]]
    gains: Dict[str, Dict[str, float]]
    curves: Dict[str, np.ndarray]
    company: Tuple[str, ...] = ()

    def with_company(self, rows: Mapping[str, RowFacts]) -> 'TaskReport':
        """The same with :attr:`company`, from the rows that are there."""
        titles = {name: facts.title for name, facts in rows.items()}
        pairs = [(name, rows[name].together) for name in self.study.rows if rows[name].together in self.study.rows]
        judged = (
            judge_company(self.study, self.comparisons, alone, together, titles, self.task, self.metric)
            for alone, together in pairs
        )
        return self._replace(company=tuple(judged))


def judge_detection(cells, matched, rows, metric: str, weights: np.ndarray, groups, seed: int) -> TaskReport:
    images, classes = weights.shape[1], next(iter(cells.values()))[0].classes
    whole = np.concatenate([np.ones((1, images)), weights])  # the test set itself comes first
    tables = {
        name: [
            np.stack([average_precision(found.rankings[label, 'all'], whole) for label in range(len(classes))])
            for found in matched[name]
        ]
        for name in cells
    }  # (K, 1 + B, T)

    def study(values, part) -> Study:
        numbers = {name: [values(name, index, part) for index in range(len(cells[name]))] for name in cells}
        return Study({name: _sampled(numbers[name], rows[name]) for name in cells}, images, seed)

    metrics = {
        key: study(lambda name, cell, part: mean_known(tables[name][cell][..., part].mean(2)), list(chosen))
        for key, chosen in DETECTION_METRICS.items()
    }
    chosen = list(DETECTION_METRICS[metric])
    by_time = {
        group: study(
            lambda name, cell, part: mean_known(_precision(matched[name][cell], 'all', classes, chosen, part)),
            _only(whole, inside),
        )
        for group, inside in groups.items()
    }
    by_size = {
        size: study(
            lambda name, cell, part: mean_known(_precision(matched[name][cell], part, classes, chosen, whole)), size
        )
        for size in SIZES[1:]
    }
    by_class = {
        title: study(lambda name, cell, part: tables[name][cell][part][:, chosen].mean(1), label)
        for label, title in enumerate(classes)
    }
    main = metrics[metric]
    errors = {name: [find_errors(record, found) for record, found in zip(cells[name], matched[name])] for name in cells}
    curves = {
        name: mean_known(
            np.stack(
                [
                    precision_curve(found.rankings[label, 'all'].at([0]))[0]
                    for found in matched[name]
                    for label in range(len(classes))
                ]
            )
        )
        for name in cells
    }
    return TaskReport(
        'detection',
        metric,
        main,
        *_judged(main, rows, metric),
        {key: _intervals(value) for key, value in metrics.items()},
        _grouped(time=by_time, size=by_size, **{'class': by_class}),
        {name: mean_gain(errors[name]) for name in errors},
        curves,
    ).with_company(rows)


def judge_segmentation(cells, rows, weights: np.ndarray, groups, ignore_background: bool, seed: int) -> TaskReport:
    images, classes = weights.shape[1], next(iter(cells.values()))[0].seg_classes
    whole = np.concatenate([np.ones((1, images)), weights])
    start = int(ignore_background)

    def study(values, part) -> Study:
        numbers = {name: [values(record, part) for record in cells[name]] for name in cells}
        return Study({name: _sampled(numbers[name], rows[name]) for name in cells}, images, seed)

    def mean_iou(record: Record, chosen: np.ndarray) -> np.ndarray:
        return mean_known(intersection_over_union(record.confusion, chosen)[:, start:].T)

    main = study(mean_iou, whole)
    by_time = {group: study(mean_iou, _only(whole, inside)) for group, inside in groups.items()}
    by_class = {
        title: study(lambda record, part: intersection_over_union(record.confusion, whole)[:, part], label)
        for label, title in enumerate(classes)
    }
    return TaskReport(
        'segmentation',
        'mIoU',
        main,
        *_judged(main, rows, 'mIoU'),
        dict(mIoU=_intervals(main)),
        _grouped(time=by_time, **{'class': by_class}),
        {},
        {},
    ).with_company(rows)


def _judged(study: Study, rows: Mapping[str, RowFacts], metric: str) -> Tuple[List[Comparison], Dict[str, Judgment]]:
    comparisons = study.compare()
    roles = {name: 'single' if rows[name].single else 'fused' for name in study.rows}
    titles = {name: facts.title for name, facts in rows.items()}
    judgments = {}
    for setting in ('trained', 'untouched'):
        names = [name for name in study.rows if rows[name].untouched == (setting == 'untouched')]
        if names:
            part = judge(study, comparisons, {name: roles[name] for name in names}, titles, metric)
            judgments[setting] = (
                part
                if setting == 'trained'
                else part._replace(sentence=f'With the task networks as loaded, {_lower(part.sentence)}')
            )
    return comparisons, judgments


def _sampled(values: Sequence[np.ndarray], facts: RowFacts) -> Sampled:
    table = np.stack(values)
    return Sampled(table[:, 0], table[:, 1:], facts.trains)


def _precision(
    found: Matches, size: str, classes: Sequence[str], chosen: Sequence[int], weights: np.ndarray
) -> np.ndarray:
    """(K, B) average precision of each class, mean over the chosen thresholds."""
    return np.stack(
        [average_precision(found.rankings[label, size].at(chosen), weights).mean(1) for label in range(len(classes))]
    )


def mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where nothing else is."""
    known = np.isfinite(values)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, values, 0).sum(0) / np.maximum(count, 1), np.nan)


def _only(weights: np.ndarray, inside: Sequence[int]) -> np.ndarray:
    kept = np.zeros_like(weights)
    kept[:, inside] = weights[:, inside]
    return kept


def _intervals(study: Study) -> Dict[str, Interval]:
    return {name: study.interval(name) for name in study.rows}


def _grouped(**kinds: Mapping[str, Study]) -> Dict[str, Dict[str, Dict[str, Interval]]]:
    found = {kind: {group: _intervals(study) for group, study in studies.items()} for kind, studies in kinds.items()}
    return {
        kind: {group: row for group, row in table.items() if any(np.isfinite(each.value) for each in row.values())}
        for kind, table in found.items()
    }


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
