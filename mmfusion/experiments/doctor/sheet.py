"""Contact sheet of the findings: one HTML file with small pictures inside it, which nothing outside it is needed
for.
"""

from html import escape
from pathlib import Path
from typing import Optional, Tuple, Union

import cv2
import numpy as np

from mmfusion.evaluation.reports.web_page import embed_picture, web_page
from mmfusion.fileio import write_text
from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_class_map, read_image

from .check import Check, Finding
from .examination import Examination
from .loaded_pair import LoadedPair, to_gray
from .pairs import PairEntry
from .report import looked_at, not_judged

WIDTH = 200  # of a picture
MOST = 60  # cards of one check
_SQUARE = 25  # of the check pattern
_WITH_BOXES = ('boxes', 'annotations', 'names', 'polarity')
_MARKS = dict(serious='!!! serious', harmful='!! harmful', look='! look at')
_STYLE = """
body { max-width: 84rem; } section { margin-top: 2rem; } td { white-space: normal; } a { color: inherit; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(27rem, 1fr)); gap: .8rem; }
article { border: 1px solid var(--line); padding: .5rem .7rem; border-radius: 4px; }
article.serious { border-left: 6px double var(--ink); } article.harmful { border-left: 4px solid var(--ink); }
article.look { border-left: 4px dotted var(--ink); }
article:focus { outline: 3px solid var(--ink); outline-offset: 1px; } article.seen { border-style: dashed; }
article h3 { margin: 0 0 .3rem; font-size: 1rem; overflow-wrap: anywhere; } article.seen h3::after { content: " \\2713 looked at"; font-weight: 400; }
article p { margin: .4rem 0 0; font-size: .9rem; overflow-wrap: anywhere; }
.row { display: flex; flex-wrap: wrap; gap: .4rem; } .row figure { margin: 0; } .row img { display: block; max-width: 100%; height: auto; }
.row figcaption { font-size: .78rem; }
.absent { width: 12.5rem; min-height: 6rem; border: 1px dashed var(--soft); padding: .4rem; font-size: .85rem; }
kbd { border: 1px solid var(--soft); border-radius: 3px; padding: 0 .35em; font: .85em monospace; }
@media (max-width: 32rem) { .cards { grid-template-columns: 1fr; } body { padding: .7rem; } }
@media print { article { break-inside: avoid; } }
"""
# The page says everything without it; it only moves the focus and marks what was looked at.
_SCRIPT = """
const cards = Array.from(document.querySelectorAll('article')), said = document.getElementById('said');
const go = card => { if (card) { card.focus(); card.scrollIntoView({block: 'nearest'}); } };
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const here = cards.indexOf(document.activeElement), at = here < 0 ? null : cards[here].closest('section');
  const other = step => { const all = Array.from(document.querySelectorAll('section[data-check]'));
    const next = all[Math.max(0, Math.min(all.length - 1, at ? all.indexOf(at) + step : 0))]; return next && next.querySelector('article'); };
  if (event.key === 'j') go(cards[Math.min(here + 1, cards.length - 1)]);
  else if (event.key === 'k') go(cards[Math.max(here - 1, 0)]);
  else if (event.key === 'n') go(other(1));
  else if (event.key === 'p') go(other(-1));
  else if (event.key === 'x' && here >= 0) { cards[here].classList.toggle('seen');
    said.textContent = document.querySelectorAll('article.seen').length + ' of ' + cards.length + ' looked at'; }
  else return;
  event.preventDefault();
});
"""


def write_sheet(path: Union[str, Path], examination: Examination, most: int = MOST) -> None:
    """Write the contact sheet, whole or not at all.

    Args:
        path: The html file.
        examination: What was found.
        most: Cards of one check; the others are counted.
    """
    count = len(examination.findings)
    title = f'Doctor: {count} findings' if count else 'Doctor: nothing found'
    keys = (
        '<p class="soft">Keys: <kbd>j</kbd> <kbd>k</kbd> next and previous finding, <kbd>n</kbd> <kbd>p</kbd> next and '
        'previous fault, <kbd>x</kbd> mark as looked at. <span id="said" role="status"></span></p>'
    )
    parts = [
        f'<h1>{title}</h1>',
        f'<p class="answer">Examined {escape(looked_at(examination))}.</p>',
        _overview(examination),
        keys if count else '',
    ]
    parts += [_section(examination, check, most) for check in examination.checks if examination.found_by(check.name)]
    write_text(path, web_page(title, parts, _STYLE, _SCRIPT if count else ''))


def _overview(examination: Examination) -> str:
    rows = []
    for check in examination.checks:
        found = len(examination.found_by(check.name))
        name = f'<a href="#{check.name}">{check.name}</a>' if found else check.name
        silent = (not_judged(examination, check) or '').partition(': ')[2]
        rows.append(
            f'<tr><td class="text">{name}</td><td class="text">{escape(check.title)}</td><td>{found or "none"}</td>'
            f'<td>{examination.judged(check.name)}</td><td class="text">{escape(silent)}</td></tr>'
        )
    head = (
        '<tr><th>check</th><th>fault</th><th>found</th><th>pairs judged</th><th>not judged, which is not '
        'sound</th></tr>'
    )
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _section(examination: Examination, check: Check, most: int) -> str:
    findings = examination.found_by(check.name)
    more = f'<p>and {len(findings) - most} more, which the csv file has</p>' if len(findings) > most else ''
    cards = ''.join(_card(finding, check) for finding in findings[:most])
    return (
        f'<section data-check="{check.name}" id="{check.name}"><h2>{escape(check.title)} ({len(findings)})</h2>'
        f'<p>{_MARKS[check.severity]}. Measured: {escape(check.measures)}; threshold {check.threshold:g}. '
        f'<b>What to do:</b> {escape(check.remedy)}.</p><div class="cards">{cards}</div>{more}</section>'
    )


def _card(finding: Finding, check: Check) -> str:
    entry = finding.entry
    figures = [_figure(entry, source, check) for source in ('first', 'second')]
    if check.name == 'registration':
        figures.append(_html(_pattern(entry), 'squares of both in turn'))
    if check.name == 'class_maps' and entry.class_map:
        figures.append(_html(_class_map(entry.class_map), 'class map'))
    if finding.other is not None:
        figures += [_figure(finding.other, source, check, f'{finding.other.label}: ') for source in ('first', 'second')]
    paths = ' '.join(path for path in (entry.first, entry.second) if path)
    return (
        f'<article tabindex="0" class="{check.severity}"><h3 title="{escape(paths)}">{escape(entry.label)}</h3>'
        f'<div class="row">{"".join(figures)}</div><p>{escape(finding.message)}</p></article>'
    )


def _html(picture: Optional[np.ndarray], caption: str) -> str:
    if picture is None:
        return f'<figure><div class="absent">cannot be shown</div><figcaption>{escape(caption)}</figcaption></figure>'
    address, (height, width) = embed_picture(picture, WIDTH, 72)
    return (
        f'<figure><img src="{address}" width="{width}" height="{height}" alt="{escape(caption)}" loading="lazy">'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )


def _figure(entry: PairEntry, source: str, check: Check, before: str = '') -> str:
    name = before + entry.modalities[source == 'second']
    try:
        picture = thumbnail(getattr(LoadedPair(entry), source))
    except PairDataError:
        return _html(None, name)
    picture, factor = picture
    if check.name in _WITH_BOXES:
        for _, box in entry.boxes or ():
            if np.isfinite(box).all():
                corners = [int(value) for value in np.clip(np.array(box) * factor, -1000, 1000)]
                for color, thickness in ((0, 3), (255, 1)):  # seen on any ground, without color
                    cv2.rectangle(picture, corners[:2], corners[2:], (color,) * 3, thickness)
    return _html(picture, name)


def thumbnail(image: np.ndarray) -> Tuple[np.ndarray, float]:
    """A small picture of an image of any depth, and its size over that of the image.

    Args:
        image: (H, W, 1) or (H, W, 3) BGR.

    Returns:
        (h, w, 3) uint8 BGR at most 200 pixels wide, and the factor.
    """
    if image.dtype != np.uint8:
        image = to_gray(image)[..., None].astype(np.uint8)
    factor = min(1.0, WIDTH / image.shape[1])
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small if small.ndim == 3 else np.repeat(small[..., None], 3, -1)), factor


def _pattern(entry: PairEntry) -> Optional[np.ndarray]:
    """Squares of both images in turn, in gray: edges break where they do not lie on each other."""
    try:
        first, second = LoadedPair(entry).working
    except PairDataError:
        return None
    first, second = (cv2.normalize(gray, None, 0, 255, cv2.NORM_MINMAX) for gray in (first, second))
    y, x = np.indices(first.shape) // _SQUARE
    return np.where((x + y) % 2 == 0, first, second).astype(np.uint8)


def _class_map(path: str) -> Optional[np.ndarray]:
    try:
        numbers = read_class_map(path)
        return (numbers.astype(np.float32) * (255 / max(int(numbers.max()), 1))).astype(np.uint8)
    except PairDataError:
        pass
    try:
        return thumbnail(read_image(path))[0]
    except PairDataError:
        return None
