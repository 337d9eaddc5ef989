"""Part of a verdict's page: pairs on which the rows differ most, as pictures with boxes."""

from html import escape
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional

import numpy as np

from mmfusion.evaluation.reports.web_page import embed_picture
from mmfusion.fileio.image_reading import read_image
from mmfusion.fileio.image_writing import FileNames

from .examples import Example
from .figures import draw_picture
from .report import Report

_WIDTH = 480  # of the pictures on the page


def examples(report: Report, titles: Mapping[str, str], root: Path, plan: Mapping) -> List[str]:
    """The part of the page that shows the pairs on which the rows differ most, with the boxes or scores of both rows.

    Args:
        report: The verdict.
        titles: What the rows are called.
        root: Folder of the cells, with the pictures.
        plan: What the folder says of itself.
    """
    if not report.examples:
        return []
    files = FileNames()
    stems = {name: files(name, name) for name in next(iter(report.records.values())).names}
    modalities = dict(zip(('first', 'second'), plan.get('modalities') or ('first source', 'second source')))
    parts = ['<h2>Where the rows differ most</h2>']
    if report.thresholds:
        parts.append(
            '<p class="soft">Boxes from the score on at which the row has its best F1: full lines are right, dashed'
            ' ones wrong, dotted ones objects that were missed. Pictures and boxes are of the first seed.</p>'
        )
    for example in report.examples:
        pictures = [_source(root, stems[example.name], source, modalities[source]) for source in ('first', 'second')]
        pictures += [
            _result(report, example, name, root, stems[example.name], titles[name])
            for name in (example.better, example.worse)
        ]
        parts.append(
            f'<h3>{escape(example.name)}: {escape(titles[example.better])} does better than '
            f'{escape(titles[example.worse])}</h3><div '
            f'class="pair">{"".join(picture for picture in pictures if picture)}</div>'
        )
    return parts


def _source(root: Path, stem: str, source: str, title: str) -> str:
    found = _embed(root / 'sources' / f'{stem}_{source}.jpg')
    return (
        ''
        if found is None
        else (
            f'<figure>{draw_picture(found[0], found[1], [], escape(title, True))}<figcaption>{escape(title)}</figcaption></figure>'
        )
    )


def _result(report: Report, example: Example, name: str, root: Path, stem: str, title: str) -> str:
    folder = root / f'{name}_seed{report.seeds[name][0]}' / 'pictures'
    found = _embed(folder / f'{stem}.jpg')
    remark = ''
    if found is None:  # a row without pictures is shown on the first source
        found, remark = _embed(root / 'sources' / f'{stem}_first.jpg'), ' (drawn on the first source)'
    if found is None:
        return ''
    record = report.records[name]
    boxes = _boxes(report, example.image, name) if record.found is not None else []
    size = record.sizes[example.image]
    caption = f'{title}{remark}' + (
        f': {_count(boxes)}' if record.found is not None else f': {example.scores[name]:.1%} of the pixels right'
    )
    return f'<figure>{draw_picture(found[0], size, boxes, escape(title, True))}<figcaption>{escape(caption)}</figcaption></figure>'


def _boxes(report: Report, image: int, name: str) -> List[dict]:
    record, matches = report.records[name], report.matches[name]
    shown = (record.found.image == image) & (record.found.score >= report.thresholds[name]) & ~matches.found_ignored
    boxes = [
        dict(
            box=record.found.box[index],
            kind='hit' if matches.found_match[index] >= 0 else 'wrong',
            text=f'{escape(record.classes[record.found.label[index]])} {record.found.score[index]:.2f}',
        )
        for index in np.flatnonzero(shown)
    ]
    met = set(matches.found_match[shown].tolist())
    lost = [
        index for index in np.flatnonzero((record.truth.image == image) & (record.truth.score == 0)) if index not in met
    ]
    return boxes + [
        dict(box=record.truth.box[index], kind='missed', text=escape(record.classes[record.truth.label[index]]))
        for index in lost
    ]


def _count(boxes: Iterable[dict]) -> str:
    number: Dict[str, int] = dict(hit=0, wrong=0, missed=0)
    for box in boxes:
        number[box['kind']] += 1
    return f'{number["hit"]} right, {number["wrong"]} wrong, {number["missed"]} missed'


def _embed(path: Path) -> Optional[tuple]:
    """Address with the content of a picture, and its (height, width); None when there is none."""
    if not path.exists():
        return None
    return embed_picture(read_image(str(path)), _WIDTH)
