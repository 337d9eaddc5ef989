"""HTML page of a league in one file: tables that sort, a scatter, pictures; nothing is loaded from elsewhere."""

import math
from html import escape
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

from mmfusion.evaluation.protocols import get_metric, get_protocol
from mmfusion.evaluation.reports.summary import caution_lines
from mmfusion.evaluation.reports.web_page import web_page
from mmfusion.fileio import write_text
from mmfusion.version import __version__

from .columns import Column
from .lead import join_words, lead
from .plan import Plan
from .scatter import Point, draw_scatter, legend
from .standing import Standing
from .strips import make_strips
from .table import KIND_TITLES, Table

ABOUT_KINDS = dict(
    source='one source alone, shown for comparison',
    rule='rules without parameters',
    published='published networks with their own weights',
    mmfusion='trained with mmfusion',
    yours='yours',
)
_STYLE = """
body { max-width: 86rem; } h2 { border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
nav a { margin-right: 1.2rem; color: inherit; } a { color: inherit; }
.lead { font-size: 1.05rem; padding: .8rem 1.1rem; background: var(--box); border-left: 5px solid var(--ink); }
.lead p { margin: .35rem 0; }
table { border-collapse: separate; border-spacing: 0; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--ink); padding: .15rem .3rem; }
tbody th { font-weight: 400; position: sticky; left: 0; background: var(--ground); text-align: left; }
thead th:first-child { position: sticky; left: 0; background: var(--ground); z-index: 1; }
tr.own th { font-weight: 700; box-shadow: inset 4px 0 0 var(--ink); padding-left: .8rem; }
tbody tr:hover td, tbody tr:hover th { background: var(--box); }
td .sub { display: block; font-size: .74rem; line-height: 1.1; color: var(--soft); font-weight: 400; }
td.first { font-weight: 700; } td.from { text-align: left; color: var(--soft); }
.star { font-weight: 400; margin-right: .2rem; }
button { font: inherit; font-weight: 600; color: inherit; background: none; border: 1px solid transparent; border-radius: 4px;
  padding: .2rem .3rem; cursor: pointer; text-align: inherit; white-space: normal; }
button:hover { border-color: var(--line); background: var(--box); } button:focus-visible { outline: 3px solid var(--ink); outline-offset: 1px; }
thead th[data-kind=text], thead th[data-kind=text] button { text-align: left; }
th[aria-sort=ascending] button::after { content: " \\25B2"; } th[aria-sort=descending] button::after { content: " \\25BC"; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem 2rem; }
.charts figure { margin: .5rem 0; } .charts svg { width: 100%; }
.key { margin-right: 1.2rem; white-space: nowrap; } .key svg { vertical-align: -3px; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: .9rem .7rem; margin: .8rem 0 1.6rem; }
.strip figure { margin: 0; } .strip svg { width: 100%; display: block; margin-bottom: 2px; }
.strip figcaption { line-height: 1.25; } .strip figcaption b { color: var(--ink); }
summary { cursor: pointer; font-weight: 600; } summary:focus-visible { outline: 3px solid var(--ink); }
@media (max-width: 40rem) { .charts { grid-template-columns: 1fr; } body { padding: .8rem; } }
@media print { tbody th, thead th:first-child { position: static; } }
"""
# Sorting alone needs it. A row without a number stays at the end whichever way a column runs.
_SCRIPT = """
document.querySelectorAll('table').forEach(table => table.querySelectorAll('thead button').forEach(button => button.addEventListener('click', () => {
  const head = button.closest('th'), place = head.cellIndex, body = table.tBodies[0];
  const before = head.getAttribute('aria-sort');
  const down = before === 'none' ? head.dataset.first === 'descending' : before === 'ascending';
  table.querySelectorAll('thead th').forEach(other => other.setAttribute('aria-sort', 'none'));
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = row => row.cells[place].dataset.value;
  const number = text => text === undefined || text === '' ? NaN : Number(text);
  const rows = Array.from(body.rows);
  rows.sort((a, b) => {
    const x = number(value(a)), y = number(value(b));
    if (isNaN(x) && isNaN(y)) return (down ? -1 : 1) * (head.dataset.kind === 'text' ? value(a).localeCompare(value(b)) : 0);
    if (isNaN(x) || isNaN(y)) return isNaN(x) ? 1 : -1;
    return down ? y - x : x - y;
  });
  rows.forEach(row => body.append(row));
  const said = document.getElementById('said');
  said.textContent = table.caption.firstChild.textContent + ' sorted by ' + button.textContent + (down ? ', descending' : ', ascending');
})));
"""


def write_page(plan: Plan, result, root: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        plan: The plan of the league.
        result: Its :class:`~mmfusion.experiments.league.run.League`.
        root: Folder of the cells, whose pictures are shown.
    """
    settings, standing = plan.settings, result.standing
    parts = [f'<h1>{escape(settings.title)}</h1>', f'<p>{escape(settings.remark)}</p>' if settings.remark else '']
    sentences = lead(plan, standing)
    if sentences:
        parts.append('<div class="lead">' + ''.join(f'<p>{escape(sentence)}</p>' for sentence in sentences) + '</div>')
    parts += [f'<p class="note">{escape(note)}</p>' for note in (*result.notes, *_unfinished(plan, result))]
    sets = [table for table in result.tables if table.key != 'overview']
    links = [('overview', 'Overview'), ('chart', 'Quality and time'), *((table.key, table.title) for table in sets), (
        'pictures', 'Pictures'),
             ('made', 'How this was made')]  # fmt: skip
    parts.append(
        '<nav aria-label="Parts of this page">'
        + ''.join(f'<a href="#{key}">{escape(title)}</a>' for key, title in links)
        + '</nav>'
    )
    if result.tables and result.tables[0].methods:
        parts += [
            '<h2 id="overview">Overview</h2>',
            _table(result.tables[0], _overview_caption(standing)),
            _charts(plan, standing, result.tables[0]),
        ]
    parts += _left_out(plan, result)
    for table in sets:
        parts += [
            f'<h2 id="{table.key}">{escape(table.title)}</h2>',
            _table(table, _set_caption(plan, standing, table.key)),
        ]
    parts += _pictures(plan, standing, root, result.tables[0].methods if result.tables else ())
    parts += _made(plan, standing, result)
    parts.append('<p id="said" role="status" class="soft"></p>')
    write_text(result.files['page'], web_page(settings.title, parts, _STYLE, _SCRIPT))


def _unfinished(plan: Plan, result) -> List[str]:
    if not result.missing:
        return []
    counts: Dict[str, int] = {}
    for label in result.missing:
        name = label.split(', ')[0]
        counts[name] = counts.get(name, 0) + 1
    methods = join_words([f'{plan.settings.methods[name].title} ({count})' for name, count in counts.items()])
    return [f'Not the last word: measurements are missing of {methods}. The same command goes on with them.']


def _table(table: Table, caption: str) -> str:
    heads = [_head('method', '', 'text', 'ascending'), _head('from', 'where a method comes from', 'text', 'ascending')]
    heads += [_head(column.title + column.arrow, column.about, 'number', 'descending' if column.better == 'higher' else
        'ascending')
              for column in table.columns]  # fmt: skip
    places = [column.places() for column in table.columns]
    rows = []
    for method in table.methods:
        kind, title = table.kinds[method], escape(table.titles[method])
        cells = [
            f'<th scope="row" data-value="{title}">{title}</th>',
            f'<td class="from" data-value="{kind}">{escape(KIND_TITLES[kind])}</td>',
        ]
        cells += [_cell(column, method, place.get(method, 0)) for column, place in zip(table.columns, places)]
        rows.append(f'<tr{" class=own" if kind in ("mmfusion", "yours") else ""}>{"".join(cells)}</tr>')
    name = escape(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table><caption><span>{name}</span>.'
        f' {escape(caption)}</caption><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _head(title: str, about: str, kind: str, first: str) -> str:
    hint = f' title="{escape(about, True)}"' if about else ''
    return (
        f'<th scope="col" aria-sort="none" data-kind="{kind}" data-first="{first}"><button '
        f'type="button"{hint}>{escape(title)}</button></th>'
    )


def _cell(column: Column, method: str, place: int) -> str:
    value = column.values.get(method)
    number = f'{value.value!r}' if value is not None and math.isfinite(value.value) else ''
    star = (
        '',
        '<span class="star" role="img" aria-label="best">★</span>',
        '<span class="star" role="img" aria-label="second best">☆</span>',
    )[place]
    rank = column.ranks.get(method)
    below = column.interval(method)
    if not below and rank is not None and math.isfinite(rank.value):
        spread = (
            f' ({rank.low:.0f}–{rank.high:.0f})'
            if math.isfinite(rank.low) and round(rank.low) != round(rank.high)
            else ''
        )
        below = f'{rank.value:g}{spread}'
    if column.level is not None and method in column.level and place != 1:
        below += ' ≈'
    sub = f'<span class="sub">{below}</span>' if below else ''
    return f'<td data-value="{number}"{" class=first" if place == 1 else ""}>{star}{column.text(method)}{sub}</td>'


def _overview_caption(standing: Standing) -> str:
    return (
        '★ best, ☆ second best of a column. Small: 95 % interval over resampled images; ≈: the images cannot tell it '
        'from the best. Of times, the middle half of the rounds. Every heading sorts.'
    )


def _set_caption(plan: Plan, standing: Standing, data: str) -> str:
    remark = plan.settings.pairs[data].remark
    return (
        (f'{remark} ' if remark else '')
        + '★ best, ☆ second best. Small: rank, in brackets where 95 % of the resampled ranks lie; '
        'of the last columns the interval of the value.'
    )


def _charts(plan: Plan, standing: Standing, overview: Table) -> str:
    time = next((column for column in overview.columns if column.key == 'time'), None)
    if time is None:
        return ''
    charts = []
    chosen = [column for column in overview.columns if column.key == 'mean_rank'] or [
        column for column in overview.columns if column.key.startswith('mean_rank')
    ][:1]
    chosen += [column for column in overview.columns if column.key.rsplit('_', 1)[-1] in ('mAP50', 'mIoU')][:1]
    for column in chosen:
        names = [name for name in overview.methods if name in time.values and name in column.values]
        points, lines = [], {}
        for name in names:
            value, title = column.values[name], overview.titles[name]
            if overview.kinds[name] == 'source':  # takes no time, so it has no place on a logarithmic axis
                lines[title] = value.value
            else:
                seconds = time.values[name].value
                points.append(Point(title, overview.kinds[name], seconds, value.value, value.low, value.high))
        about = f'{column.title} against time'
        unit = time.about.split(', which')[0].removeprefix('time ')
        svg = draw_scatter(points, f'time, {unit}', column.title, column.better == 'higher', about, lines)
        if svg:
            caption = f'{column.about}; up is better, left is faster. Lines: 95 % intervals.'
            charts.append(f'<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>')
    kinds = {kind: about for kind, about in ABOUT_KINDS.items() if kind != 'source' and kind in overview.kinds.values()}
    return (
        f'<h2 id="chart">Quality and time</h2>{legend(kinds)}<div class="charts">{"".join(charts)}</div>'
        if charts
        else ''
    )


def _left_out(plan: Plan, result) -> List[str]:
    from .run import grouped

    parts = []
    for title, reasons in (('Left out', result.skipped), ('Failed', result.failed)):
        entries = grouped(reasons)
        if entries:
            names = {name: method.title for name, method in plan.settings.methods.items()}
            items = ''
            for reason, methods in entries.items():
                who = join_words([names[name] for name in methods]) if len(methods) < len(names) else 'all methods'
                items += f'<dt>{escape(who)}</dt><dd>{escape(reason)}</dd>'
            parts.append(
                f'<details><summary>{title}: {len(entries)} '
                f'reason{"s" * (len(entries) > 1)}</summary><dl>{items}</dl></details>'
            )
    return parts


def _pictures(plan: Plan, standing: Standing, root: Path, order: Sequence[str]) -> List[str]:
    parts: List[str] = []
    for data, part in standing.sets.items():
        for number, strip in enumerate(make_strips(plan, part, root, order)):
            heading = f'{plan.settings.pairs[data].title}, {strip.name}'
            figures = ''.join(strip.figures)
            parts.append(
                f'<details{" open" if number == 0 else ""}><summary>{escape(heading)}</summary><p '
                f'class="soft">Shown because it is {escape(strip.why)}.</p><div class="strip">{figures}</div></details>'
            )
    if not parts:
        return []
    note = (
        'Above the whole picture, below the detail between the corners, the same for all methods: around the object, or'
        ' else the place, on which the methods differ most. Boxes from the score on at which a method has its best F1:'
        ' full lines are right, dashed ones wrong, dotted ones objects that were missed.'
    )
    return ['<h2 id="pictures">Pictures</h2>', f'<p class="soft">{note}</p>', *parts]


def _made(plan: Plan, standing: Standing, result) -> List[str]:
    settings = plan.settings
    protocol = get_protocol(settings.protocol)
    facts: Dict[str, str] = {
        'Metrics': f'protocol {protocol.name} ({protocol.title}): '
        + '; '.join(f'{name}, {get_metric(name, settings.protocol).title}' for name in settings.metrics)
    }
    facts.update(
        {
            f'About {key}': text
            for key, text in zip(map(str, range(1, 99)), caution_lines(settings.metrics, settings.protocol))
        }
    )
    facts['Mean rank'] = (
        'The mean over the metrics of the rank by the mean over the images. A summary, not a judgment: EN, SD, '
        'SF and AG grow with noise and contrast too, metrics of one family count once each, and a rank depends on who '
        'else takes part.'
    )
    facts['Intervals'] = (
        f'{standing.resamples} resamplings of the images, the same for all methods; each ranks anew. '
        f'They say how far a figure would move with other'
        ' images of the same kind, not with images of another kind.'
    )
    for data, pairs in plan.pairs.items():
        split = pairs.meta.get('split_hash')
        facts[f'Pairs, {settings.pairs[data].title}'] = (
            f'{len(pairs)} pairs ({type(pairs.dataset).__name__}). {settings.pairs[data].remark}'
            + (f' Hash of the names: {split[:16]}.' if split else '')
        )
    for name in standing.methods:
        if settings.methods[name].remark:
            facts[settings.methods[name].title] = settings.methods[name].remark
    facts['Pictures'] = (
        'Fused at the size of the sources, stored as 8-bit png files, rated and looked at from these files.'
    )
    for network in settings.networks.values():
        size = f', pictures resized into {network.image_size[0]}x{network.image_size[1]}' if network.image_size else ''
        facts[network.title] = (
            f'As loaded, nothing learns{size}; classes are matched by name. COCO matching by pycocotools; '
            f'mean over classes.'
        )
    facts.update(_cost_facts(plan, standing))
    facts['Program'] = f'mmfusion {__version__}'
    items = ''.join(f'<dt>{escape(key)}</dt><dd>{escape(text)}</dd>' for key, text in facts.items())
    return ['<h2 id="made">How this was made</h2>', f'<dl>{items}</dl>']


def _cost_facts(plan: Plan, standing: Standing) -> Mapping[str, str]:
    cost = plan.settings.cost
    if cost is None or not standing.costs:
        return {}
    machines = {
        f'{row["machine"]["device"]}, {row["machine"]["torch_threads"]} thread, torch {row["machine"]["torch"]}'
        for row in standing.costs.values()
    }
    loads = [row['machine']['load_average'][0] / row['machine']['cpu_count'] for row in standing.costs.values()]
    busy = (
        f' Other work ran beside it (load per core {min(loads):.1f} to {max(loads):.1f}), so read the ratio, '
        f'not the milliseconds.'
        if max(loads) > 1.2
        else ''
    )
    return {
        'Time': (
            f'The method and {cost.reference} took turns in one process, {cost.repeats} rounds on'
            f' {"; ".join(sorted(machines))}; the ratio is the median over the rounds. Colors taken apart and put back'
            f' are part of it, reading and writing are not.{busy}'
        ),
        'Operations': 'Counted while one random pair was fused; convolutions, matrix products and attention, '
        'no element-wise work.',
    }
