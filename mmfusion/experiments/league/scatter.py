"""Quality against time as inline SVG, in the ink of the page; kinds of methods are told apart by shape."""

import math
from html import escape
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 430, 58, 20, 16, 48
_FONT = 12
_GLYPH = 6.4  # mean width of a letter
#: Places of a label around its point: dx, dy, anchor.
_PLACES = ((9, 4, 'start'), (-9, 4, 'end'), (0, -10, 'middle'), (0, 19, 'middle'), (8, -8, 'start'), (8, 16, 'start'), (-8, -8,
    'end'),
           (-8, 16, 'end'), (14, -18, 'start'), (-14, -18, 'end'), (14, 26, 'start'), (-14, 26, 'end'))  # fmt: skip


class Point(NamedTuple):
    """One method.

    Attributes:
        title: Label.
        kind: ``'rule'``, ``'published'``, ``'mmfusion'`` or ``'yours'``.
        x: Time, above 0.
        y: Quality.
        low: Lower end of its interval, NaN without one.
        high: Its upper end.
    """

    title: str
    kind: str
    x: float
    y: float
    low: float = math.nan
    high: float = math.nan


def draw_scatter(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    higher: bool,
    name: str,
    lines: Optional[Mapping[str, float]] = None,
) -> str:
    """Scatter over a logarithmic axis of time; the better end of quality is up.

    Args:
        points: Methods; those with a number that is not finite are left out.
        x_title: Title of the axis of time.
        y_title: Title of the axis of quality.
        higher: Whether more is better; otherwise the axis runs downward.
        name: Title for readers that do not see it.
        lines: Qualities to compare with, drawn across, by name.
    """
    lines = {title: y for title, y in (lines or {}).items() if math.isfinite(y)}
    points = [point for point in points if math.isfinite(point.x) and point.x > 0 and math.isfinite(point.y)]
    if not points:
        return ''
    ends = [value for point in points for value in (point.y, point.low, point.high) if math.isfinite(value)]
    ends += lines.values()
    low, high = _padded(min(ends), max(ends), 0.06)
    left, right = _padded(
        math.log10(min(point.x for point in points)), math.log10(max(point.x for point in points)), 0.06
    )
    right += 0.1 * (right - left)  # for labels

    def across(x: float) -> float:
        return _LEFT + (math.log10(x) - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)

    def down(y: float) -> float:
        part = (y - low) / (high - low)
        return _TOP + (1 - part if higher else part) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg role="img" aria-label="{escape(name, True)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'xmlns="http://www.w3.org/2000/svg" fill="currentColor" font-size="{_FONT}" font-family="system-ui, '
        f'sans-serif">',
        *_axes(left, right, low, high, across, down, x_title, y_title),
    ]
    for title, y in lines.items():
        parts.append(
            f'<path d="M{_LEFT} {down(y):.1f}H{_WIDTH - _RIGHT}" stroke="currentColor" stroke-dasharray="2 4"/>'
            f'<text x="{_WIDTH - _RIGHT}" y="{down(y) - 4:.1f}" text-anchor="end" '
            f'font-style="italic">{escape(title)}</text>'
        )
    places = [(across(point.x), down(point.y)) for point in points]
    for point, (x, _) in zip(points, places):
        if math.isfinite(point.low) and math.isfinite(point.high):
            parts.append(
                f'<path d="M{x:.1f} {down(point.low):.1f}V{down(point.high):.1f}" stroke="currentColor" '
                f'stroke-opacity=".45" fill="none"/>'
            )
    for point, (x, y) in zip(points, places):
        about = f'{point.title}: {point.x:.3g}, {point.y:.3g}'
        parts.append(f'<g><title>{escape(about)}</title>{_marker(point.kind, x, y)}</g>')
    for point, (x, y, anchor) in zip(points, _labels(points, places)):
        weight = ' font-weight="700"' if point.kind in ('mmfusion', 'yours') else ''
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(point.title)}</text>')
    return ''.join([*parts, '</svg>'])


def legend(kinds: Mapping[str, str]) -> str:
    """Markers and what they stand for, as HTML."""
    marks = ''.join(
        f'<span class="key"><svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" '
        f'fill="currentColor">{_marker(kind, 8, 8)}</svg> {escape(title)}</span>'
        for kind, title in kinds.items()
    )
    return f'<p class="soft">{marks}</p>'


def _marker(kind: str, x: float, y: float) -> str:
    if kind == 'rule':
        return (
            f'<path d="M{x - 4.5:.1f} {y - 4.5:.1f}l9 9m0 -9l-9 9" stroke="currentColor" stroke-width="2" fill="none"/>'
        )
    if kind == 'mmfusion':
        return f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5l-6.5 6.5l-6.5 -6.5z"/>'
    if kind == 'yours':
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="var(--ground)" stroke="currentColor" stroke-width="1.8"/>'


def _axes(left, right, low, high, across, down, x_title: str, y_title: str) -> List[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" stroke="currentColor" fill="none"/>']
    for value in _decades(left, right):
        x = across(value)
        parts.append(
            f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="var(--line)"/><text x="{x:.1f}" y="{bottom + 17}" '
            f'text-anchor="middle">{value:g}</text>'
        )
    for value in _steps(low, high):
        y = down(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="var(--line)"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(
        f'<text transform="translate(14 {(_TOP + bottom) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_title)}</text>'
    )
    return parts


def _padded(low: float, high: float, part: float) -> Tuple[float, float]:
    room = part * (high - low) or 0.5
    return low - room, high + room


def _decades(left: float, right: float) -> List[float]:
    """Values 1, 10, ... in a range of logarithms; 2 and 5 beside them where it is short."""
    factors = (1,) if right - left > 2 else (1, 2, 5)
    values = [factor * 10.0**power for power in range(math.floor(left), math.ceil(right) + 1) for factor in factors]
    return [value for value in values if left <= math.log10(value) <= right]


def _steps(low: float, high: float) -> List[float]:
    """Round values in a range, about six.

    Examples:
        >>> _steps(0.2, 1.1)
        [0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    return [
        round(index * step, 10) for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _labels(points: Sequence[Point], places: Sequence[Tuple[float, float]]) -> List[Tuple[float, float, str]]:
    """Where labels stand: one after the other, at the place around its point where it covers least."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    found: Dict[int, Tuple[float, float, str]] = {}
    for index in sorted(range(len(points)), key=lambda index: -len(points[index].title)):
        x, y = places[index]
        length = _GLYPH * len(points[index].title)
        best = None
        for order, (dx, dy, anchor) in enumerate(_PLACES):
            start = x + dx - dict(start=0.0, middle=length / 2, end=length)[anchor]
            box = (start, y + dy - _FONT, start + length, y + dy + 3)
            outside = (
                max(0.0, _LEFT - box[0])
                + max(0.0, box[2] - _WIDTH)
                + max(0.0, _TOP - 8 - box[1])
                + max(0.0, box[3] - _HEIGHT + _BOTTOM)
            )
            price = (
                sum(_overlap(box, other) for number, other in enumerate(taken) if number != index)
                + 100 * outside
                + 2 * order
            )
            if best is None or price < best[0]:
                best = price, (x + dx, y + dy, anchor), box
        taken.append(best[2])
        found[index] = best[1]
    return [found[index] for index in range(len(points))]


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
