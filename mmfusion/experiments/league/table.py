"""Tables of a league: rows of methods, written as csv, Markdown and LaTeX, and by the page as HTML."""

import math
from typing import Iterator, List, Mapping, NamedTuple, Sequence

from mmfusion.evaluation.reports.tables import escape_latex
from mmfusion.fileio.markdown import markdown_table

from .columns import Column, overview_columns, set_columns
from .plan import Plan
from .settings import KINDS
from .standing import Standing

#: What each kind of method is called in tables.
KIND_TITLES = dict(source='source alone', rule='rule', published='published', mmfusion='mmfusion', yours='yours')


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
            *(f'% {note}' for note in self.notes), r'\begin{table}', r'  \centering',
                f'  \\caption{{{escape_latex(self.title)}}}',
            f'  \\begin{{tabular}}{{l{"r" * len(self.columns)}}}', *(f'    {line}' for line in body),
                r'  \end{tabular}', r'\end{table}', '',
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
    tables = [Table('overview', 'Overview', order, titles, kinds, overview_columns(plan, standing))]
    for data, part in standing.sets.items():
        known = {*part.means, *(name for answer in part.answers.values() for name in answer.values)}
        rows = [name for name in order if name in known]
        if rows:
            pairs = settings.pairs[data]
            title = f'{pairs.title}, {len(part.names)} pairs'
            notes = [pairs.remark] if pairs.remark else []
            tables.append(Table(data, title, rows, titles, kinds, set_columns(plan, part), notes))
    return tables
