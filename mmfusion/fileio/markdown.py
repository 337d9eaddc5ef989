"""Tables in Markdown."""

from typing import Iterable, Sequence


def markdown_table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table, without a newline at its end.

    Args:
        heads: Column titles.
        rows: Cells, as many in each row as there are titles.

    Raises:
        ValueError: A row has more or fewer cells than there are titles.

    Examples:
        >>> print(markdown_table(['fusion', 'mAP'], [['joint', 0.25]]))
        | fusion | mAP |
        |---|---|
        | joint | 0.25 |
    """
    rows = list(rows)
    if any(len(row) != len(heads) for row in rows):
        raise ValueError(f'every row must have {len(heads)} cells, got {sorted({len(row) for row in rows})}')
    head, *lines = ['| ' + ' | '.join(map(str, cells)) + ' |' for cells in (heads, *rows)]
    return '\n'.join([head, '|---' * len(heads) + '|', *lines])
