"""Page on how well a set of pairs is registered: check patterns before and after, the worst pairs first."""

from html import escape
from pathlib import Path
from typing import Mapping, Sequence, Tuple, Union

from mmfusion.evaluation.reports.web_page import page_picture, page_table, web_page
from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.whole import write_text
from mmfusion.registration.folders import PairRegistration, summarize, worst_first
from mmfusion.registration.pictures import before_and_after

SHOWN = 40
_WIDTH = 1080
_STYLE = 'td:last-child { white-space: normal; text-align: left; } th[scope=row] { white-space: normal; }'
_HOW = (
    'Squares of the first and of the second image in turn: edges must run on across them. Left: the pair as it is, '
    'right: as registration lays the second image on the first; where it has nothing, the first is shown.'
)


def write_registration_page(
    path: Union[str, Path],
    rows: Sequence[PairRegistration],
    files: Mapping[str, Tuple[str, str]],
    title: str,
    shown: int = SHOWN,
) -> None:
    """Write one HTML file that needs nothing but itself, whole or not at all.

    Args:
        path: Where to.
        rows: Results of all pairs, in any order.
        files: Paths of both images by name of the pair.
        title: What was looked at, plain text.
        shown: Number of pairs with a picture, the worst first.
    """
    ordered = worst_first(list(rows))
    parts = [f'<h1>{escape(title)}</h1>']
    parts += [
        f'<p class="{"answer" if not index else "note"}">{escape(line)}</p>'
        for index, line in enumerate(summarize(ordered).split('\n'))
    ]
    drawn = [row for row in ordered if row.result is not None][: max(0, shown)]
    if drawn:
        parts += [f'<h2>The {len(drawn)} worst pairs</h2>', f'<p class="soft">{_HOW}</p>']
        parts += [_picture(row, files[row.name]) for row in drawn]
    cells = [([escape(str(value)) for value in row.row().values()], False) for row in ordered]
    heads = ('pair', 'accepted', 'confidence', 'off by, pixels', 'at a width of 320', 'why not')
    caption = (
        'All pairs, unreadable and refused ones first, then by the mean distance of the corners from where equal '
        'names and sizes put them'
    )
    parts += ['<h2>All pairs</h2>', page_table(heads, cells, caption)]
    write_text(path, web_page(title, parts, _STYLE))


def _picture(row: PairRegistration, files: Tuple[str, str]) -> str:
    result = row.result
    verdict = f'off by {row.offset:.1f} pixels' if result.accepted else 'refused: ' + '; '.join(result.reasons)
    image = before_and_after(*map(read_image, files), result)
    return page_picture(image, _WIDTH, f'{row.name}: {verdict} (confidence {result.confidence:.2f})')
