"""The cells of a searched network as a picture."""

from pathlib import Path
from typing import List, Sequence, Tuple, Union

from mmfusion.fileio.figures import new_figure, save_figure
from mmfusion.utils.errors import InputError

SCALES = ('full size', '1/2', '1/4')
_BOX, _GAP, _ROW = (1.5, 0.5), 0.35, 0.85  # inches: size of an operation, space between boxes, distance of rows


def draw_genotype(cells: Sequence[Tuple[str, Sequence[str]]], path: Union[str, Path], title: str = '') -> str:
    """Draw cells from left to right, each with its operations; a multiscale cell has one row for each of its three
    sizes.

    Args:
        cells: Kind (``'chain'`` or ``'multiscale'``) and names of the operations of each cell, such as
            ``Genotype.cells``.
        path: File to write; its extension chooses the format (png, pdf, svg).
        title: Title of the picture.

    Returns:
        The path.

    Raises:
        ValueError: There are no cells, a kind is unknown, or matplotlib does not know the format.
        OSError: The file cannot be written.
    """
    if not cells or any(kind not in ('chain', 'multiscale') for kind, _ in cells):
        raise InputError(f'cells must be pairs of a kind, chain or multiscale, and operations; got {cells!r}')
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    if path.suffix[1:] not in FigureCanvasAgg.get_supported_filetypes():
        raise InputError(f'cannot write a picture as {path.name!r}; use .png, .pdf or .svg')
    kinds = sorted({_kind(name) for _, names in cells for name in names})
    width = (
        sum(len(names) * (_BOX[0] + _GAP) + 2.2 * _GAP + (2.4 if kind == 'multiscale' else 0) for kind, names in cells)
        + 3.2
    )
    figure = new_figure(figsize=(width, 3 * _ROW + 1.1))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_xlim(0, width), axis.set_ylim(-1.5 * _ROW - 0.45, 1.5 * _ROW + 0.65)
    axis.set_axis_off()
    axis.text(0.2, 1.5 * _ROW + 0.35, title, fontsize=10, weight='bold')
    x = _box(axis, 0.2, 0, 'sources', 'white', 1.0)
    for index, (kind, names) in enumerate(cells):
        x = _cell(axis, x + _GAP, f'{kind} cell {index}', kind, names, kinds)
    _arrow(axis, (x, 0), (x + _GAP, 0))
    _box(axis, x + _GAP, 0, 'image', 'white', 1.0)
    return save_figure(figure, path, dpi=120, sync=False)


def _cell(axis, x: float, title: str, kind: str, names: Sequence[str], kinds: List[str]) -> float:
    """Draw a cell that begins at ``x``; returns where it ends."""
    from matplotlib.patches import FancyBboxPatch

    multiscale = kind == 'multiscale'
    rows = ((_ROW, SCALES[0]), (0.0, SCALES[1]), (-_ROW, SCALES[2])) if multiscale else ((0.0, ''),)
    inner = x + _GAP + (0.9 if multiscale else 0)
    end = inner + len(names) * (_BOX[0] + _GAP) + (1.5 if multiscale else 0) - (0 if multiscale else _GAP) + _GAP
    _arrow(axis, (x - _GAP, 0), (x, 0))
    half = rows[0][0] + 0.4
    axis.add_patch(
        FancyBboxPatch(
            (x, -half), end - x, 2 * half, boxstyle='round,pad=0,rounding_size=0.12', fill=False, edgecolor='0.6'
        )
    )
    axis.text(x + 0.08, half + 0.07, title, fontsize=8, color='0.35')
    for y, label in rows:
        place = inner
        if multiscale:
            axis.text(inner - 0.5, y + 0.12, label, fontsize=7, ha='center', color='0.35')
        _arrow(axis, (x, 0), (place, y))
        for name in names:
            if place > inner:
                _arrow(axis, (place - _GAP, y), (place, y))
            place = _box(axis, place, y, name, f'C{kinds.index(_kind(name))}') + _GAP
        if multiscale:
            _arrow(axis, (place - _GAP, y), (place + 0.2, 0 if y == 0 else y / 3))
    if multiscale:
        _box(axis, place + 0.2, 0, 'merge', 'white', 0.95)
        _arrow(axis, (place + 1.15, 0), (end, 0))
    return end


def _box(axis, x: float, y: float, text: str, color: str, width: float = _BOX[0]) -> float:
    """A box from ``x`` on around the height ``y``; returns where it ends."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    axis.add_patch(
        FancyBboxPatch(
            (x, y - _BOX[1] / 2),
            width,
            _BOX[1],
            boxstyle='round,pad=0,rounding_size=0.08',
            edgecolor='0.3',
            facecolor=to_rgba(color, 0.3 if color != 'white' else 1),
        )
    )
    axis.text(x + width / 2, y, text, fontsize=8, ha='center', va='center')
    return x + width


def _arrow(axis, start: Tuple[float, float], end: Tuple[float, float]) -> None:
    axis.annotate('', end, start, arrowprops=dict(arrowstyle='-|>', color='0.4', linewidth=0.9, shrinkA=0, shrinkB=0))


def _kind(name: str) -> str:
    """The operation without its numbers."""
    return name.rstrip('_0123456789')
