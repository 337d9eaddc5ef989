"""Tables of a league: rows of methods, written as csv, Markdown and LaTeX, and by the page as HTML."""

import math
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from mmfusion.evaluation.protocols import get_metric
from mmfusion.evaluation.reports.tables import escape_latex
from mmfusion.fileio.markdown import markdown_table

from .cells import Plan
from .settings import KINDS
from .standing import Estimate, Standing, best_two

#: What each kind of method is called in tables.
KIND_TITLES = dict(source='source alone', rule='rule', published='published', mmfusion='mmfusion', yours='yours')


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


class Table(NamedTuple):
    """One table.

    Attributes:
        key: Name in the csv file.
        title: Heading.
        methods: Names of the rows, in order.
        titles: What rows are called.
        kinds: Where each method comes from.
        columns: Columns.
        notes: Sentences below it.
    """

    key: str
    title: str
    methods: Sequence[str]
    titles: Mapping[str, str]
    kinds: Mapping[str, str]
    columns: Sequence[Column]
    notes: Sequence[str] = ()

    def to_text(self) -> str:
        """For a terminal, in aligned columns; intervals of ranks in brackets."""
        grid = [['method', *(column.title for column in self.columns)]]
        for method in self.methods:
            cells = [
                column.text(method) + (f' ({column.interval(method)})' if column.interval(method) else '')
                for column in self.columns
            ]
            grid.append([self.titles[method], *cells])
        widths = [max(map(len, cells)) for cells in zip(*grid)]
        return '\n'.join(
            '  '.join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
            for row in grid
        )

    def to_markdown(self) -> str:
        """Markdown: the best of each column bold, the second best underlined."""
        places = [column.places() for column in self.columns]
        rows = []
        for method in self.methods:
            cells = [
                ('{}', '**{}**', '<u>{}</u>')[place.get(method, 0)].format(column.text(method))
                + (f' ({column.interval(method)})' if column.interval(method) else '')
                for column, place in zip(self.columns, places)
            ]
            rows.append([self.titles[method], KIND_TITLES[self.kinds[method]], *cells])
        heads = ['method', 'from', *(column.title + column.arrow for column in self.columns)]
        return (
            '\n'.join(
                [f'**{self.title}**', '', markdown_table(heads, rows), '', *(f'- {note}' for note in self.notes)]
            ).rstrip()
            + '\n'
        )

    def to_latex(self) -> str:
        r"""LaTeX with the rules of booktabs (``\usepackage{booktabs}``): best bold, second best underlined."""
        places = [column.places() for column in self.columns]
        arrows = {'': '', ' ↑': r'~$\uparrow$', ' ↓': r'~$\downarrow$'}
        lines = [
            ' & '.join(['method', *(escape_latex(column.title) + arrows[column.arrow] for column in self.columns)])
            + r' \\',
            r'\midrule',
        ]
        kind = None
        for method in self.methods:
            if kind not in (None, self.kinds[method]):
                lines.append(r'\midrule')
            kind = self.kinds[method]
            cells = [
                ('{}', r'\textbf{{{}}}', r'\underline{{{}}}')[place.get(method, 0)].format(
                    column.text(method).replace('-', '--')
                )
                for column, place in zip(self.columns, places)
            ]
            lines.append(' & '.join([escape_latex(self.titles[method]), *cells]) + r' \\')
        body = [r'\toprule', *lines, r'\bottomrule']
        return '\n'.join([
            *(f'% {note}' for note in self.notes), r'\begin{table}', r'  \centering', f'  \\caption{{{escape_latex(self.title)}}}',
            f'  \\begin{{tabular}}{{l{"r" * len(self.columns)}}}', *(f'    {line}' for line in body), r'  \end{tabular}', r'\end{table}', '',
        ])  # fmt: skip

    def csv_rows(self) -> Iterator[dict]:
        """One line for each method and column."""
        for method in self.methods:
            for column in self.columns:
                value, rank = column.values.get(method), column.ranks.get(method)
                if value is None:
                    continue
                yield dict(
                    table=self.key, method=method, title=self.titles[method], kind=self.kinds[method], column=column.key, better=column.better,
                    value=_number(value.value), low=_number(value.low), high=_number(value.high),
                    rank=_number(rank.value) if rank else '', rank_low=_number(rank.low) if rank else '',
                    rank_high=_number(rank.high) if rank else '',
                )  # fmt: skip


CSV_FIELDS = (
    'table',
    'method',
    'title',
    'kind',
    'column',
    'better',
    'value',
    'low',
    'high',
    'rank',
    'rank_low',
    'rank_high',
)


def _number(value: float) -> str:
    return f'{value:.6g}' if math.isfinite(value) else ''


def make_tables(plan: Plan, standing: Standing) -> List[Table]:
    """The overview, then a table for each set of pairs."""
    settings = plan.settings
    titles = {name: method.title for name, method in settings.methods.items()}
    kinds = {name: method.kind for name, method in settings.methods.items()}
    order = sorted(standing.methods, key=lambda name: (KINDS.index(kinds[name]), list(settings.methods).index(name)))
    columns: List[Column] = []
    if len(standing.sets) > 1 and standing.overall:
        columns.append(
            Column(
                'mean_rank',
                'mean rank',
                standing.overall,
                'lower',
                1,
                'mean over the sets of the mean rank over the metrics, of methods on all sets, ranked among themselves',
            )
        )
    several = len(standing.sets) > 1
    for data, part in standing.sets.items():
        title = settings.pairs[data].title
        if part.mean_rank:
            heading = f'rank, {title}' if several else 'mean rank'
            columns.append(
                Column(
                    f'mean_rank_{data}',
                    heading,
                    part.mean_rank,
                    'lower',
                    1,
                    f'mean rank over {len(settings.metrics)} metrics on {title}',
                )
            )
    for data, part in standing.sets.items():
        for name, answer in part.answers.items():
            columns.append(_answer_column(plan, data, name, answer))
    for name, rows in standing.courses.items():
        columns += _course_columns(settings.courses[name], rows)
    columns += _cost_columns(plan, standing)
    tables = [Table('overview', 'Overview', order, titles, kinds, columns)]
    for data, part in standing.sets.items():
        ranked = [
            name
            for name in order
            if name in part.means or any(name in answer.values for answer in part.answers.values())
        ]
        if ranked:
            tables.append(_set_table(plan, data, part, ranked, titles, kinds))
    return tables


def _set_table(
    plan: Plan, data: str, part, order: Sequence[str], titles: Mapping[str, str], kinds: Mapping[str, str]
) -> Table:
    settings, columns = plan.settings, []
    for metric in settings.metrics:
        spec = get_metric(metric, settings.protocol)
        values = {name: Estimate(row[metric]) for name, row in part.means.items()}
        top = max((abs(value.value) for value in values.values() if math.isfinite(value.value)), default=0)
        better = spec.better if spec.optimum is None else ''
        ranks = {name: row[metric] for name, row in part.ranks.items()}
        alone = [name for name in values if kinds[name] == 'source']
        columns.append(Column(metric, metric, values, better, 3 if top < 20 else 2, spec.title, ranks, None, alone))
    columns.append(
        Column(
            'mean_rank', 'mean rank', part.mean_rank, 'lower', 1, f'mean rank over the {len(settings.metrics)} metrics'
        )
    )
    columns += [_answer_column(plan, data, name, answer) for name, answer in part.answers.items()]
    pairs = settings.pairs[data]
    return Table(
        data,
        f'{pairs.title}, {len(part.names)} pairs',
        order,
        titles,
        kinds,
        columns,
        [pairs.remark] if pairs.remark else [],
    )


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
                         f'{title} after training {course.title} on the pictures; in brackets the least and the largest of the seeds')  # fmt: skip


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
