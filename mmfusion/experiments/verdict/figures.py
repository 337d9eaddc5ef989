"""Figures of a verdict as inline SVG: in the ink of the page, light or dark, and told apart by shape and position, not
by color alone."""

import io
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from mmfusion.fileio.figures import new_figure

from .average_precision import RECALLS
from .error_types import TYPES
from .resampling import Comparison
from .tasks import TaskReport

_INK = '#010203'  # replaced by the color of the page's text
# Okabe and Ito's colors that stand out on white and on black alike.
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
_STYLES = ('-', '--', '-.', ':')
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')


def draw_values(report: TaskReport, titles: Mapping[str, str]) -> str:
    """Mean, interval and seeds of each row."""
    names = list(report.study.rows)
    figure, axis = _start(7.2, 0.8 + 0.34 * len(names))
    for place, name in enumerate(names):
        interval = report.study.interval(name)
        axis.plot([interval.low, interval.high], [place, place], color=_INK, linewidth=1.6)
        axis.plot(
            report.study.rows[name].values,
            np.full(len(report.study.rows[name].values), place + 0.22),
            '|',
            color=_INK,
            markersize=6,
            alpha=0.7,
        )
        axis.plot(interval.value, place, 'o', color=_INK, markersize=6)
        axis.annotate(
            f'{interval.value:.3f}',
            (interval.value, place),
            (0, 6),
            textcoords='offset points',
            ha='center',
            fontsize=8,
            color=_INK,
        )
    _name_rows(axis, [titles[name] for name in names])
    axis.set_xlabel(f'{report.metric}: mean (dot), 95 % interval (line), seeds (ticks)', fontsize=9)
    return _finish(figure, f'{report.task}-values', f'{report.metric} of each row with its interval')


def draw_differences(
    pairs: Sequence[Comparison], titles: Mapping[str, str], metric: str, against: str, name: str
) -> str:
    """Every row against one of them; ``pairs`` have that one second."""
    figure, axis = _start(7.2, 0.9 + 0.34 * len(pairs))
    axis.axvline(0, color=_INK, linewidth=0.8, linestyle=':')
    for place, pair in enumerate(pairs):
        axis.plot([pair.low, pair.high], [place, place], color=_INK, linewidth=0.9)
        axis.plot(
            [pair.difference.low, pair.difference.high],
            [place, place],
            color=_INK,
            linewidth=3.2,
            solid_capstyle='butt',
        )
        axis.plot(
            pair.difference.value,
            place,
            'o',
            color=_INK,
            markersize=7,
            markerfacecolor=_INK if pair.different else 'none',
            markeredgewidth=1.4,
        )
    _name_rows(axis, [titles[pair.a] for pair in pairs])
    axis.set_xlabel(f'{metric} above {titles[against]}', fontsize=9)
    return _finish(figure, name, f'differences of {metric} from {titles[against]}')


def draw_curves(report: TaskReport, titles: Mapping[str, str]) -> str:
    """Precision over recall."""
    figure, axis = _start(7.2, 4.2)
    for index, (name, curve) in enumerate(report.curves.items()):
        axis.plot(
            RECALLS,
            curve,
            color=_COLORS[index % len(_COLORS)],
            linestyle=_STYLES[index % len(_STYLES)],
            linewidth=1.6,
            marker=_MARKERS[index % len(_MARKERS)],
            markevery=(3 * index % 20, 20),
            markersize=5,
            label=titles[name],
        )
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel('recall', fontsize=9)
    axis.set_ylabel('precision, mean over classes and seeds', fontsize=9)
    axis.legend(
        fontsize=8, frameon=False, labelcolor=_INK, loc='center left', bbox_to_anchor=(1.01, 0.5), handlelength=3.5
    )
    return _finish(figure, f'{report.task}-curves', 'precision over recall at an overlap of 0.5')


def draw_errors(report: TaskReport, titles: Mapping[str, str]) -> str:
    """What each type of error costs, a panel each."""
    names = list(report.gains)
    figure = new_figure(figsize=(9.4, 1.0 + 2 * (0.5 + 0.24 * len(names))), layout='constrained')
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    top = max([0.01, *(gain for gains in report.gains.values() for gain in gains.values())])
    for kind, axis in zip(TYPES, axes.flat):
        gains = [report.gains[name][kind] for name in names]
        axis.barh(range(len(names)), gains, height=0.62, facecolor='none', edgecolor=_INK, hatch='////', linewidth=0.8)
        for place, gain in enumerate(gains):
            axis.annotate(
                f'{gain:.3f}',
                (max(gain, 0), place),
                (3, 0),
                textcoords='offset points',
                va='center',
                fontsize=7.5,
                color=_INK,
            )
        axis.set_title(kind, fontsize=9, color=_INK)
        axis.set_xlim(min(0, *gains), top * 1.25)
        _name_rows(axis, [titles[name] for name in names])
    return _finish(figure, f'{report.task}-errors', 'average precision that each type of error costs')


def _start(width: float, height: float):
    figure = new_figure(figsize=(width, height), layout='constrained')
    return figure, figure.add_subplot()


def _name_rows(axis, names: List[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_ylim(len(names) - 0.4, -0.6)


def _finish(figure: Any, name: str, title: str) -> str:
    for axis in figure.axes:
        for part in (*axis.spines.values(), *axis.xaxis.get_ticklines(), *axis.yaxis.get_ticklines()):
            part.set_color(_INK)
        for side in ('top', 'right'):
            axis.spines[side].set_visible(False)
        axis.tick_params(labelsize=8, colors=_INK)
        axis.xaxis.label.set_color(_INK)
        axis.yaxis.label.set_color(_INK)
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name, 'hatch.color': _INK, 'hatch.linewidth': 0.6}):
        figure.savefig(
            file, format='svg', transparent=True, metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
        )
    text = file.getvalue()
    text = text[text.index('<svg') :].replace(_INK, 'currentColor')
    # Figures share a page, so their ids must not be the same.
    text = re.sub(r'(\bid="|href="#|url\(#)', rf'\g<1>{name}-', text)
    return re.sub(r'<svg ', f'<svg role="img" aria-label="{title}" ', text, count=1)


def draw_picture(
    image: str, size: Sequence[int], boxes: Sequence[dict], title: str, width: Optional[float] = None
) -> str:
    """A picture with boxes over it.

    Args:
        image: ``data:`` address of the picture.
        size: (height, width) that the boxes are given in.
        boxes: ``box`` (xyxy), ``kind`` (``'hit'``, ``'wrong'``, ``'missed'``) and ``text``.
        title: For readers that do not see it.
        width: Width of the lines in pixels of the picture.
    """
    height, across = size
    line = width or max(1.0, across / 250)
    dash: Dict[str, str] = dict(
        hit='',
        wrong=f'stroke-dasharray="{4 * line:g} {2.5 * line:g}"',
        missed=f'stroke-dasharray="{line:g} {2 * line:g}"',
    )
    parts = [
        f'<svg role="img" aria-label="{title}" viewBox="0 0 {across} {height}" xmlns="http://www.w3.org/2000/svg">',
        f'<image href="{image}" width="{across}" height="{height}" preserveAspectRatio="none"/>',
    ]
    for entry in boxes:
        left, top, right, bottom = entry['box']
        shape = (
            f'x="{left:.1f}" y="{top:.1f}" width="{max(0, right - left):.1f}" height="{max(0, bottom - top):.1f}"'
            ' fill="none"'
        )
        style = dash[entry['kind']]
        # a dark line under a light one is seen on every ground
        parts.append(
            f'<rect {shape} stroke="#000" stroke-opacity=".65" stroke-width="{2.2 * line:g}" {style}/>'
            f'<rect {shape} stroke="#fff" stroke-width="{line:g}" {style}/>'
        )
        if entry.get('text'):
            parts.append(
                f'<text x="{left:.1f}" y="{max(top - 1.5 * line, 6 * line):.1f}" font-size="{7 * line:g}" fill="#fff"'
                f' stroke="#000" stroke-width="{1.4 * line:g}" paint-order="stroke" '
                f'font-family="sans-serif">{entry["text"]}</text>'
            )
    return ''.join([*parts, '</svg>'])
