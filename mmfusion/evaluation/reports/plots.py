"""Pictures of a comparison: bars with their spread, or a radar of all metrics at once."""

import math
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Union

from mmfusion.fileio.figures import new_figure, save_figure
from mmfusion.utils import UserError

from .summary import Summary, format_value, heading
from .tables import Entry, tabulate

KINDS = ('bars', 'radar')
_INNER = 0.1  # radius of the worst method, so that its shape is seen
_BAR_COLUMNS = 4


def scale(entry: Entry) -> Dict[str, float]:
    """Means of a metric, mapped to 1 for the best method and 0 for the worst, whichever values are better.

    Methods without a value are left out; where all are equal, all have 1.
    """
    merits = {
        method: entry.spec.merit(value.mean) for method, value in entry.statistics.items() if math.isfinite(value.mean)
    }
    worst, best = min(merits.values(), default=0.0), max(merits.values(), default=0.0)
    return {method: (merit - worst) / (best - worst) if best != worst else 1.0 for method, merit in merits.items()}


def plot(summaries: Mapping[str, Summary], kind: str, path: Union[str, Path]) -> str:
    """Draw a comparison.

    Args:
        summaries: By method, of the same metrics and protocol.
        kind: ``'bars'``: one small chart per metric, means with standard deviations in units of the metric, the best
            method full in color. ``'radar'``: one axis per metric, scaled so that the best method lies on the rim and
            the worst near the center.
        path: File to write; its extension chooses the format (png, pdf, svg).

    Returns:
        The path.

    Raises:
        ValueError: Unknown kind.
        UserError: A radar of fewer than two methods or three metrics, or a file that cannot be written.
    """
    if kind not in KINDS:
        raise ValueError(f'the kind of plot must be one of {list(KINDS)}, got {kind!r}')
    entries = [entry for entry in tabulate(summaries) if any(value.count for value in entry.statistics.values())]
    if kind == 'radar' and (len(summaries) < 2 or len(entries) < 3):
        raise UserError(
            f'a radar plot needs at least two methods and three metrics, got {len(summaries)} and '
            f'{len(entries)}; use bars'
        )
    if not entries:
        raise UserError('there is nothing to plot: no metric has a value')
    figure = new_figure(layout='constrained')
    anyone = next(iter(summaries.values()))
    (_bars if kind == 'bars' else _radar)(figure, entries, list(summaries))
    figure.suptitle(heading(anyone.protocol, anyone.n_images), fontsize=8, wrap=True)
    try:
        return save_figure(figure, path, dpi=150)
    except (OSError, ValueError) as error:  # ValueError: a format that matplotlib does not know
        raise UserError(f'cannot write the plot {path}: {error}') from error


def _bars(figure, entries: Sequence[Entry], methods: List[str]) -> None:
    columns = min(_BAR_COLUMNS, len(entries))
    rows = math.ceil(len(entries) / columns)
    figure.set_size_inches(2.6 * columns, 0.9 + rows * (0.8 + 0.28 * len(methods)))
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for entry, axis in zip(entries, axes):
        values = [entry.statistics[method] for method in methods]
        heights = [value.mean if value.count else 0 for value in values]
        spreads = [value.std if math.isfinite(value.std) else 0 for value in values]
        bars = axis.barh(
            methods,
            heights,
            xerr=spreads,
            color=[f'C{i % 10}' for i in range(len(methods))],
            error_kw=dict(elinewidth=0.8, alpha=0.6),
        )
        for bar, method in zip(bars, methods):
            bar.set_alpha(1.0 if entry.ranks[method] == 1 or len(methods) == 1 else 0.4)
        axis.invert_yaxis()
        axis.set_title(f'{entry.column.key} {entry.arrow}', fontsize=9)
        axis.tick_params(labelsize=7)
        axis.xaxis.get_offset_text().set_fontsize(7)
    for axis in axes:  # what is left of the last row
        axis.set_axis_off()


def _radar(figure, entries: Sequence[Entry], methods: List[str]) -> None:
    figure.set_size_inches(7, 7)
    axis = figure.add_subplot(projection='polar')
    angles = [2 * math.pi * i / len(entries) for i in range(len(entries))]
    scaled = [scale(entry) for entry in entries]
    for i, method in enumerate(methods):
        radii = [_INNER + (1 - _INNER) * values.get(method, math.nan) for values in scaled]
        axis.plot([*angles, angles[0]], [*radii, radii[0]], color=f'C{i % 10}', label=method, linewidth=1.5)
        if all(map(math.isfinite, radii)):
            axis.fill(angles, radii, color=f'C{i % 10}', alpha=0.1)
    axis.set_theta_offset(math.pi / 2)
    axis.set_theta_direction(-1)
    labels = []
    for entry in entries:
        best = max(
            (value.mean for value in entry.statistics.values() if math.isfinite(value.mean)), key=entry.spec.merit
        )
        labels.append(f'{entry.column.key} {entry.arrow}\n{format_value(best)}')
    axis.set_xticks(angles, labels, fontsize=8)
    axis.tick_params(pad=14)
    axis.set_yticks([])
    axis.set_ylim(0, 1)
    axis.legend(loc='upper right', bbox_to_anchor=(1.25, 1.1), fontsize=8)
