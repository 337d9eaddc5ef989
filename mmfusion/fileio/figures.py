"""Figures of matplotlib without pyplot: nothing global, no display; the library is loaded with the first one."""

from pathlib import Path
from typing import Any, Union

from .whole import whole_file


def new_figure(**options: Any) -> Any:
    """An empty figure that can be saved as png, pdf or svg.

    Args:
        options: Arguments of ``matplotlib.figure.Figure``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Union[str, Path], dpi: int, sync: bool = True) -> str:
    """Write a figure, whole or not at all.

    Args:
        figure: Result of :func:`new_figure`.
        path: File to write; its extension chooses the format, png without one.
        dpi: Pixels per inch.
        sync: Wait until the file is on the disk.

    Returns:
        The path.

    Raises:
        ValueError: matplotlib does not know the format.
        OSError: The file cannot be written.
    """
    with whole_file(path, binary=True, sync=sync) as file:
        figure.savefig(file, dpi=dpi, format=Path(path).suffix[1:] or 'png')
    return str(path)
