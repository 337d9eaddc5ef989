"""Standing of the methods: means, ranks, and how far the ranks would move with other images of the same kind."""

from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np
from scipy.stats import rankdata

from mmfusion.evaluation.protocols import get_metric
from mmfusion.experiments.verdict.average_precision import average_precision
from mmfusion.experiments.verdict.matching import Matches, match
from mmfusion.experiments.verdict.record import Record, check_same_test_set
from mmfusion.experiments.verdict.resampling import LEVEL, Sampled, Study, draw_weights
from mmfusion.experiments.verdict.segmentation import intersection_over_union
from mmfusion.experiments.verdict.tasks import mean_known

from .measure import load_record, values_of
from .plan import DONE, Plan

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A number with its 95 % interval over resampled images; NaN where there is none."""

    value: float
    low: float = float('nan')
    high: float = float('nan')


class Answers(NamedTuple):
    """What one task network made of the pictures of all methods on one set.

    Attributes:
        name: Name of the network.
        metric: ``'mAP50'`` or ``'mIoU'``.
        values: By method.
        ranks: By method, 1 for the best.
        level: Methods that the data cannot tell from the best one, itself included, all pairs of methods taken into
            account.
        records: Predictions and truth by method.
        matches: Detections matched with truth, by method; empty of a segmentor.
    """

    name: str
    metric: str
    values: Dict[str, Estimate]
    ranks: Dict[str, Estimate]
    level: Sequence[str]
    records: Dict[str, Record]
    matches: Dict[str, Matches]


class SetStanding(NamedTuple):
    """One set of pairs.

    Attributes:
        data: Its name.
        names: Names of the pairs.
        values: (I, ) value of every image, by method and metric.
        means: Mean by method and metric.
        ranks: Rank by method and metric; a source alone has none.
        mean_rank: Mean over the metrics of a method's rank.
        answers: Of the task networks, by name.
    """

    data: str
    names: Sequence[str]
    values: Dict[str, Dict[str, np.ndarray]]
    means: Dict[str, Dict[str, float]]
    ranks: Dict[str, Dict[str, Estimate]]
    mean_rank: Dict[str, Estimate]
    answers: Dict[str, Answers]


class Standing(NamedTuple):
    """Everything that was measured.

    Attributes:
        sets: By name of the set.
        overall: Mean over the sets of the mean rank, of methods that are on all of them and ranked among themselves.
        costs: By method, see :func:`~mmfusion.experiments.league.cost.measure_cost`.
        courses: Metrics by course, method and seed.
        resamples: Number of resamplings.
    """

    sets: Dict[str, SetStanding]
    overall: Dict[str, Estimate]
    costs: Dict[str, dict]
    courses: Dict[str, Dict[str, dict]]
    resamples: int

    @property
    def methods(self) -> List[str]:
        """Methods with any result."""
        return list(dict.fromkeys([*(name for part in self.sets.values() for name in part.means), *self.costs,
                                   *(name for part in self.courses.values() for name in part)]))  # fmt: skip


def read_standing(plan: Plan, root: Path, resamples: int = RESAMPLES) -> Standing:
    """Read every cell that is done, and rank."""
    sets, costs, courses, rated, draws = {}, {}, {}, {}, {}
    done = [cell for cell in plan.cells if cell.state(root) == DONE]
    for cell in done:
        if cell.kind == 'cost':
            costs[cell.method] = cell.result(root)['values']
        elif cell.kind == 'course':
            courses.setdefault(cell.name, {})[cell.method] = cell.result(root)['values']
    for data, pairs in plan.pairs.items():
        weights = draws[data] = draw_weights(len(pairs), resamples, len(sets))
        scores = {
            cell.method: cell.result(root)['values'] for cell in done if (cell.kind, cell.data) == ('scores', data)
        }
        values = {
            method: {metric: values_of(found, pairs.names, metric) for metric in plan.settings.metrics}
            for method, found in scores.items()
        }
        ranked = {name: row for name, row in values.items() if plan.settings.methods[name].kind != 'source'}
        means, ranks, mean_rank, _ = rank_methods(ranked, plan.settings.metrics, plan.settings.protocol, weights)
        for name in values.keys() - ranked.keys():
            once = np.ones((1, len(pairs)))
            means[name] = {metric: float(weighted_mean(row, once)[0]) for metric, row in values[name].items()}
        records: Dict[str, Dict[str, Record]] = {}
        for cell in done:
            if (cell.kind, cell.data) == ('network', data):
                records.setdefault(cell.name, {})[cell.method] = load_record(cell.folder(root))
        answers = {name: judge_network(name, found, weights) for name, found in records.items()}
        sets[data] = SetStanding(data, pairs.names, values, means, ranks, mean_rank, answers)
        rated[data] = ranked
    overall = rank_overall(rated, plan.settings.metrics, plan.settings.protocol, draws)
    return Standing(sets, overall, costs, courses, resamples)


def rank_methods(
    values: Mapping[str, Mapping[str, np.ndarray]], metrics: Sequence[str], protocol: str, weights: np.ndarray
) -> tuple:
    """Means and ranks with their intervals.

    Every resampling draws images with replacement, the same for all methods, and ranks the methods anew by their means.
    An image where a metric is undefined is left out of the mean.

    Args:
        values: (I, ) by method and metric.
        metrics: Names of metrics.
        protocol: Their protocol.
        weights: (B, I) how often each image is drawn.

    Returns:
        tuple: Means and ranks by method and metric, mean rank by method, and (B, ) resampled mean rank by method.
    """
    methods = list(values)
    whole = np.concatenate([np.ones((1, weights.shape[1])), weights])
    means: Dict[str, dict] = {method: {} for method in methods}
    ranks: Dict[str, dict] = {method: {} for method in methods}
    places = []
    for metric in metrics:
        drawn = (
            np.stack([weighted_mean(values[method][metric], whole) for method in methods], 1)
            if methods
            else np.zeros((len(whole), 0))
        )
        place = _rank(get_metric(metric, protocol).merit(drawn))  # (1 + B, M)
        places.append(place)
        for index, method in enumerate(methods):
            means[method][metric] = float(drawn[0, index])
            ranks[method][metric] = estimate(place[:, index])
    mean = mean_known(np.stack(places)) if places and methods else np.zeros((len(whole), 0))
    return (
        means,
        ranks,
        {method: estimate(mean[:, index]) for index, method in enumerate(methods)},
        {method: mean[:, index] for index, method in enumerate(methods)},
    )


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, ) means of (I, ) values by (B, I) weights; undefined values are left out.

    Examples:
        >>> weighted_mean(np.array([1.0, 3.0, np.nan]), np.array([[1, 1, 1], [2, 0, 1]])).tolist()
        [2.0, 1.0]
    """
    known = np.isfinite(values)
    count = weights @ known
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(count > 0, weights @ np.where(known, values, 0) / count, np.nan)


def _rank(merits: np.ndarray) -> np.ndarray:
    """(B, M) places, 1 for the largest merit; equal ones share the mean of their places, NaN has none."""
    merits = np.round(merits, 12)  # sums in another order must not part what is equal
    return rankdata(-merits, axis=1, nan_policy='omit') if merits.size else merits


def estimate(drawn: np.ndarray) -> Estimate:
    """Estimate from a value and its resamplings, which come after it."""
    rest = drawn[1:][np.isfinite(drawn[1:])]
    if not np.isfinite(drawn[0]) or not len(rest):
        return Estimate(float(drawn[0]))
    low, high = np.quantile(rest, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(drawn[0]), float(min(low, drawn[0])), float(max(high, drawn[0])))


def judge_network(name: str, records: Dict[str, Record], weights: np.ndarray) -> Answers:
    """Figure of a task network for every method, with its interval, and which methods cannot be told from the best."""
    check_same_test_set(records)
    whole = np.concatenate([np.ones((1, weights.shape[1])), weights])
    found: Dict[str, Matches] = {}
    drawn = {}
    for method, record in records.items():
        if record.found is not None:
            found[method] = match(record)
            rankings = [found[method].rankings[label, 'all'].at([0]) for label in range(len(record.classes))]
            drawn[method] = mean_known(np.stack([average_precision(ranking, whole)[:, 0] for ranking in rankings]))
        else:
            drawn[method] = mean_known(intersection_over_union(record.confusion, whole).T)
    study = Study({method: Sampled(row[:1], row[None, 1:], False) for method, row in drawn.items()}, weights.shape[1])
    intervals = {method: study.interval(method) for method in drawn}
    places = _rank(np.stack(list(drawn.values()), 1))
    ranks = {method: estimate(places[:, index]) for index, method in enumerate(drawn)}
    known = {method: interval.value for method, interval in intervals.items() if np.isfinite(interval.value)}
    best = max(known, key=known.get) if known else None
    apart = {frozenset((pair.a, pair.b)) for pair in study.compare() if pair.different}
    level = [method for method in known if method == best or frozenset((method, best)) not in apart]
    metric = 'mAP50' if found else 'mIoU'
    values = {method: Estimate(interval.value, interval.low, interval.high) for method, interval in intervals.items()}
    return Answers(name, metric, values, ranks, level, records, found)


def rank_overall(
    values: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    metrics: Sequence[str],
    protocol: str,
    weights: Mapping[str, np.ndarray],
) -> Dict[str, Estimate]:
    """Mean over the sets of the mean rank, of the methods that are on all of them and ranked among themselves.

    Args:
        values: (I, ) by set, method and metric.
        metrics: Names of metrics.
        protocol: Their protocol.
        weights: (B, I) by set: how often each image is drawn; the sets are drawn independently of each other.
    """
    sets = [data for data, rows in values.items() if rows]
    everywhere = [name for name in (values[sets[0]] if sets else ()) if all(name in values[data] for data in sets)]
    drawn = [
        rank_methods({name: values[data][name] for name in everywhere}, metrics, protocol, weights[data])[3]
        for data in sets
    ]
    return {name: estimate(np.mean([part[name] for part in drawn], axis=0)) for name in everywhere}


def best_two(values: Mapping[str, float], higher: bool = True) -> Dict[str, int]:
    """1 for the methods with the best value, 2 for those with the second best; the others are not in it.

    Examples:
        >>> best_two(dict(a=0.1, b=0.3, c=0.3, d=0.2))
        {'b': 1, 'c': 1, 'd': 2}
    """
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    levels = sorted(set(known.values()), reverse=higher)[:2]
    return {name: levels.index(value) + 1 for name, value in known.items() if value in levels}


def standing_of(values: Mapping[str, Estimate], name: str) -> Optional[int]:
    """Place of one method by the smallest value, 1 for the first."""
    return 1 + sum(other.value < values[name].value for other in values.values()) if name in values else None
