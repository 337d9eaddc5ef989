"""Tables of methods and metrics: for the terminal, markdown, LaTeX and csv. Every one names its protocol."""

import math
from typing import Dict, Iterator, List, Mapping, NamedTuple, Sequence

from mmfusion.fileio.markdown import markdown_table

from ..protocols import MetricSpec, get_metric
from .summary import Column, Statistics, Summary, caution_lines, format_value, heading, rank, title

WIDE = 10  # with more metrics than this, methods are columns and not rows
_LATEX = {
    '\\': r'\textbackslash{}',
    '_': r'\_',
    '&': r'\&',
    '%': r'\%',
    '#': r'\#',
    '$': r'\$',
    '{': r'\{',
    '}': r'\}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
}
_LATEX_ARROWS = str.maketrans({'↑': r'\uparrow', '↓': r'\downarrow', '→': r'\to '})


class Entry(NamedTuple):
    """One metric over all methods.

    Attributes:
        column: Which value.
        spec: Its metric.
        statistics: By method.
        ranks: By method, 1 for the best mean.
    """

    column: Column
    spec: MetricSpec
    statistics: Dict[str, Statistics]
    ranks: Dict[str, float]

    @property
    def arrow(self) -> str:
        """Direction in which the value gets better."""
        return (
            f'→{self.spec.optimum:g}' if self.spec.optimum is not None else '↑' if self.spec.higher_is_better else '↓'
        )


def tabulate(summaries: Mapping[str, Summary], per_source: bool = False) -> List[Entry]:
    """Put the summaries of methods side by side.

    Args:
        summaries: By method, all of the same metrics and protocol, at least one.
        per_source: Also the values against either source.
    """
    entries, statistics = [], {method: summary.statistics() for method, summary in summaries.items()}
    anyone = next(iter(summaries.values()))
    for column in anyone.columns(per_source):
        row = {method: values[column.key] for method, values in statistics.items() if column.key in values}
        spec = get_metric(column.metric, anyone.protocol)
        entries.append(
            Entry(column, spec, row, rank({method: spec.merit(value.mean) for method, value in row.items()}))
        )
    return entries


def mean_ranks(entries: Sequence[Entry]) -> Dict[str, float]:
    """Mean over the metrics of each method's rank; values against one source do not count a second time.

    A metric in which a method has no value does not count for it.
    """
    ranks: Dict[str, List[float]] = {}
    for entry in entries:
        for method, value in entry.ranks.items():
            ranks.setdefault(method, []).extend([value] if not entry.column.source and math.isfinite(value) else [])
    return {method: sum(values) / len(values) if values else math.nan for method, values in ranks.items()}


def to_text(summaries: Mapping[str, Summary], per_source: bool = False) -> str:
    """Table for the terminal: metrics are rows; mean ± standard deviation and, for several methods, (rank)."""
    grid = _grid(summaries, per_source, _plain, methods_in_rows=False)
    notes = _notes(summaries)
    titles = ['', *(title(entry.column, entry.spec) for entry in tabulate(summaries, per_source))]
    widths = [max(map(len, cells)) for cells in zip(*grid)]
    lines = [
        '  '.join([cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))])
        for cells in grid
    ]
    titles += [''] * (len(lines) - len(titles))
    return '\n'.join(
        [_heading(summaries, True), *(f'  {line}  {text}'.rstrip() for line, text in zip(lines, titles)), *notes]
    )


def to_markdown(summaries: Mapping[str, Summary], per_source: bool = False) -> str:
    """Markdown table: best values bold, second best underlined."""
    heads, *rows = _grid(summaries, per_source, _markdown_cell)
    return (
        '\n'.join(
            [
                _heading(summaries, True),
                '',
                markdown_table(heads, rows),
                '',
                *(f'- {note}' for note in _notes(summaries)),
            ]
        ).rstrip()
        + '\n'
    )


def to_latex(summaries: Mapping[str, Summary], per_source: bool = False) -> str:
    r"""LaTeX table with the rules of booktabs (``\usepackage{booktabs}``): best values bold, second best underlined."""
    grid = _grid(summaries, per_source, _latex_cell, escape=escape_latex)
    lines = [' & '.join(cells) + r' \\' for cells in grid]
    tabular = [r'\toprule', lines[0], r'\midrule', *lines[1:], r'\bottomrule']
    return '\n'.join(
        [
            *(f'% {note}' for note in _notes(summaries)),
            r'\begin{table}',
            r'  \centering',
            f'  \\caption{{{escape_latex(_heading(summaries))}}}',
            f'  \\begin{{tabular}}{{l{"c" * (len(grid[0]) - 1)}}}',
            *(f'    {line}' for line in tabular),
            r'  \end{tabular}',
            r'\end{table}',
            '',
        ]
    )


def summary_rows(summaries: Mapping[str, Summary]) -> Iterator[dict]:
    """Rows of a csv file: one for each method and value, with everything that is known of it."""
    means = mean_ranks(tabulate(summaries))
    for entry in tabulate(summaries, per_source=True):
        for method, statistics in entry.statistics.items():
            yield dict(
                method=method,
                protocol=summaries[method].protocol,
                metric=entry.column.key,
                better=entry.spec.better,
                unit=entry.spec.unit,
                **statistics._asdict(),
                rank=entry.ranks[method],
                mean_rank=means.get(method, math.nan),
            )


def _grid(
    summaries: Mapping[str, Summary], per_source: bool, cell, methods_in_rows=None, escape=str
) -> List[List[str]]:
    entries = tabulate(summaries, per_source)
    several = len(summaries) > 1
    rows_wanted = len(entries) <= WIDE if methods_in_rows is None else methods_in_rows
    columns = [['method' if rows_wanted else 'metric', *map(escape, summaries)]]
    for entry in entries:
        head = escape(entry.column.key) + (
            ' ' + entry.arrow if escape is str else f'~${entry.arrow.translate(_LATEX_ARROWS)}$'
        )
        columns.append([head, *(cell(entry, method, several) for method in summaries)])
    if several:
        means = mean_ranks(entries)
        columns.append(
            [
                'mean rank',
                *(
                    f'{means[method]:.2f}' if math.isfinite(means.get(method, math.nan)) else '-'
                    for method in summaries
                ),
            ]
        )
    return [list(row) for row in zip(*columns)] if rows_wanted else columns


def _plain(entry: Entry, method: str, several: bool) -> str:
    value = entry.statistics.get(method)
    if value is None or not value.count:
        return '-'
    spread = f' ± {format_value(value.std)}' if math.isfinite(value.std) else ''
    return f'{format_value(value.mean)}{spread}' + (f' ({entry.ranks[method]:g})' if several else '')


def _place(entry: Entry, method: str, several: bool) -> int:
    """1 for the best value, 2 for the next, 0 for all others; equal values are of one place."""
    better = sorted({value for value in entry.ranks.values() if math.isfinite(value)})[:2] if several else []
    return better.index(entry.ranks[method]) + 1 if entry.ranks.get(method) in better else 0


def _markdown_cell(entry: Entry, method: str, several: bool) -> str:
    return ('{}', '**{}**', '<u>{}</u>')[_place(entry, method, several)].format(_plain(entry, method, several))


def _latex_cell(entry: Entry, method: str, several: bool) -> str:
    value = entry.statistics.get(method)
    if value is None or not value.count:
        return '--'
    mean = ('{}', r'\textbf{{{}}}', r'\underline{{{}}}')[_place(entry, method, several)].format(
        _latex_number(value.mean)
    )
    return mean + (rf'$\,\pm\,${_latex_number(value.std)}' if math.isfinite(value.std) else '')


def _latex_number(value: float) -> str:
    number, _, exponent = format_value(value).partition('e')
    return (
        f'${number}\\cdot 10^{{{int(exponent)}}}$' if exponent else f'${number}$' if number.startswith('-') else number
    )


def escape_latex(text: str) -> str:
    """Text as LaTeX sets it, its special characters escaped."""
    return ''.join(_LATEX.get(character, character) for character in text).replace('±', r'$\pm$')


def _heading(summaries: Mapping[str, Summary], ranks: bool = False) -> str:
    anyone = next(iter(summaries.values()))
    return (
        f'{heading(anyone.protocol, anyone.n_images)} ± standard '
        f'deviation{" (rank)" if ranks and len(summaries) > 1 else ""}'
    )


def _notes(summaries: Mapping[str, Summary]) -> List[str]:
    anyone = next(iter(summaries.values()))
    notes = caution_lines(anyone.metrics, anyone.protocol)
    for method, summary in summaries.items():
        notes += [f'{method}: {sentence}' if len(summaries) > 1 else sentence for sentence in summary.warnings()]
    return notes
