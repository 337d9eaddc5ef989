"""Columns of a league's tables: what was measured, by method, and how it is written."""

import math
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from mmfusion.evaluation.protocols import get_metric

from .plan import Plan
from .standing import Estimate, SetStanding, Standing, best_two


class Column(NamedTuple):
    """One column of numbers.

    Attributes:
        key: Name in the csv file.
        title: Heading.
        values: By method.
        better: ``'higher'``, ``'lower'``, or empty where neither is better.
        digits: Digits after the point.
        about: What it is, in words.
        ranks: Rank by method, where it has one of its own.
        level: Methods that cannot be told from the best; None where that is not known.
        unranked: Methods that are shown, but neither best nor second best.
    """

    key: str
    title: str
    values: Dict[str, Estimate]
    better: str = 'higher'
    digits: int = 3
    about: str = ''
    ranks: Mapping[str, Estimate] = {}
    level: Optional[Sequence[str]] = None
    unranked: Sequence[str] = ()

    @property
    def arrow(self) -> str:
        """Direction in which it gets better."""
        return dict(higher=' ↑', lower=' ↓').get(self.better, '')

    def places(self) -> Dict[str, int]:
        """1 for the best, 2 for the second best."""
        values = {
            name: round(value.value, self.digits)
            for name, value in self.values.items()
            if math.isfinite(value.value) and name not in self.unranked
        }
        return best_two(values, self.better == 'higher') if self.better and len(values) > 1 else {}

    def text(self, method: str) -> str:
        """Number as tables show it, ``'-'`` where there is none."""
        value = self.values.get(method)
        return '-' if value is None or not math.isfinite(value.value) else f'{value.value:.{self.digits}f}'

    def interval(self, method: str, digits: Optional[int] = None) -> str:
        """Its interval, empty where there is none."""
        value = self.values.get(method)
        if value is None or not math.isfinite(value.low):
            return ''
        digits = self.digits if digits is None else digits
        return f'{value.low:.{digits}f}–{value.high:.{digits}f}'


def overview_columns(plan: Plan, standing: Standing) -> List[Column]:
    """Ranks, task networks as loaded and after training, costs."""
    settings, columns = plan.settings, []
    several = len(standing.sets) > 1
    if several and standing.overall:
        about = 'mean over the sets of the mean rank over the metrics, of methods on all sets, ranked among themselves'
        columns.append(Column('mean_rank', 'mean rank', standing.overall, 'lower', 1, about))
    for data, part in standing.sets.items():
        if part.mean_rank:
            title = settings.pairs[data].title
            heading, about = (
                f'rank, {title}' if several else 'mean rank',
                f'mean rank over {len(settings.metrics)} metrics on {title}',
            )
            columns.append(Column(f'mean_rank_{data}', heading, part.mean_rank, 'lower', 1, about))
    for data, part in standing.sets.items():
        columns += [_answer_column(plan, data, name, answer) for name, answer in part.answers.items()]
    for name, rows in standing.courses.items():
        columns += _course_columns(settings.courses[name], rows)
    return [*columns, *_cost_columns(plan, standing)]


def set_columns(plan: Plan, part: SetStanding) -> List[Column]:
    """Metrics on one set of pairs, their mean rank, task networks as loaded."""
    settings, columns = plan.settings, []
    for metric in settings.metrics:
        spec = get_metric(metric, settings.protocol)
        values = {name: Estimate(row[metric]) for name, row in part.means.items()}
        top = max((abs(value.value) for value in values.values() if math.isfinite(value.value)), default=0)
        better = spec.better if spec.optimum is None else ''
        ranks = {name: row[metric] for name, row in part.ranks.items()}
        alone = [name for name in values if settings.methods[name].kind == 'source']
        columns.append(Column(metric, metric, values, better, 3 if top < 20 else 2, spec.title, ranks, None, alone))
    about = f'mean rank over the {len(settings.metrics)} metrics'
    columns.append(Column('mean_rank', 'mean rank', part.mean_rank, 'lower', 1, about))
    return [*columns, *(_answer_column(plan, part.data, name, answer) for name, answer in part.answers.items())]


def _answer_column(plan: Plan, data: str, name: str, answer) -> Column:
    network, pairs = plan.settings.networks[name], plan.settings.pairs[data]
    about = f'{answer.metric} of {network.title}, as loaded, on {pairs.title}'
    return Column(
        f'{name}_{data}_{answer.metric}',
        f'{answer.metric}, {pairs.title}',
        answer.values,
        'higher',
        3,
        about,
        answer.ranks,
        answer.level,
    )


def _course_columns(course, rows: Mapping[str, dict]) -> Iterator[Column]:
    from mmfusion.experiments.comparison import COLUMNS

    for title, metric in COLUMNS.items():
        found = {}
        for method, seeds in rows.items():
            scale = 0.01 if metric == 'seg/mIoU' else 1  # mmseg has percent
            values = [metrics[metric] * scale for metrics in seeds.values() if metric in metrics]
            if values:
                found[method] = Estimate(
                    sum(values) / len(values), *((min(values), max(values)) if len(values) > 1 else ())
                )
        if found:
            yield Column(f'{course.name}_{title}', f'{title}, {course.title}', found, 'higher', 3,
                         f'{title} after training {course.title} on the pictures; '
                         f'in brackets the least and the largest of the seeds')  # fmt: skip


def _cost_columns(plan: Plan, standing: Standing) -> Iterator[Column]:
    cost = plan.settings.cost
    if cost is None or not standing.costs:
        return
    width, height = cost.image_size
    pair = f'one pair of {width}x{height}'

    def of(key: str, scale: float = 1.0) -> Dict[str, Estimate]:
        return {name: Estimate(row[key] * scale) for name, row in standing.costs.items() if row.get(key) is not None}

    alone = [name for name, method in plan.settings.methods.items() if method.kind == 'source']
    reference = plan.settings.methods.get(str(cost.reference))
    times = {name: Estimate(row['times'], *_quartiles(row['rounds'])) for name, row in standing.costs.items()}
    unit = reference.title if reference else str(cost.reference)
    yield Column(
        'time',
        'time',
        times,
        'lower',
        2,
        f'time for {pair} over that of {unit}, which took turns with it in one process',
        unranked=alone,
    )
    for key, title in (('cpu_ms', 'CPU ms'), ('gpu_ms', 'GPU ms')):
        if found := of(key):
            yield Column(
                key,
                title,
                found,
                'lower',
                0,
                f'milliseconds for {pair}, on one thread where it is a CPU; read it beside the ratio',
                unranked=alone,
            )
    yield Column('parameters', 'M param.', of('parameters', 1e-6), '', 3, 'millions of parameters')
    yield Column(
        'gmac',
        'GMAC',
        of('gmac'),
        '',
        2,
        f'billions of multiplications with additions for {pair}: convolutions, products, attention',
    )
    if found := of('memory', 1 / 2**20):
        yield Column(
            'memory', 'MiB', found, '', 0, f'memory that fusing {pair} takes at its highest, beyond the loaded network'
        )


def _quartiles(rounds: Sequence[float]) -> tuple:
    if len(rounds) < 4:
        return ()
    ordered = sorted(rounds)
    return ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]
