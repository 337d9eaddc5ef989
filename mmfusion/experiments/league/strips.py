"""Pictures of all methods on the same pairs, with a detail and what a detector found."""

from html import escape
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmfusion.evaluation.protocols import get_metric
from mmfusion.evaluation.reports.web_page import embed_picture
from mmfusion.experiments.verdict.examples import image_scores, operating_score
from mmfusion.experiments.verdict.figures import draw_picture
from mmfusion.fileio.image_reading import to_working_range
from mmfusion.utils import UserError

from .pair_set import PairSet
from .plan import Plan, pictures_of
from .standing import Answers, SetStanding

_WIDTH, _QUALITY = 360, 80  # of the pictures on the page
_DETAIL = 0.25  # width of the detail over that of the picture, at the least
_RATIO = 0.5  # height of the detail over its width

Window = Tuple[int, int, int, int]


class Strip(NamedTuple):
    """One pair as every method shows it.

    Attributes:
        name: Name of the pair.
        why: Why it is shown.
        figures: HTML of the figures, the sources first.
    """

    name: str
    why: str
    figures: List[str]


def make_strips(plan: Plan, part: SetStanding, root: Path, order: Sequence[str]) -> Iterator[Strip]:
    """Strips of one set of pairs.

    Raises:
        UserError: The config names a pair that the set does not have.
    """
    pairs = plan.pairs[part.data]
    methods = [name for name in order if name in part.means]
    if not methods:
        return
    answers = next((answer for answer in part.answers.values() if answer.matches), None)
    for name, why in choose_pairs(plan, part, answers):
        yield Strip(name, why, _figures(plan, pairs, name, methods, answers, root))


def choose_pairs(plan: Plan, part: SetStanding, answers: Optional[Answers]) -> List[Tuple[str, str]]:
    """Names of the pairs that are shown, with the reason.

    Those that the config names; otherwise those on which the methods differ most, by right minus wrong detections where
    there is a detector and by the fusion metrics elsewhere.
    """
    show = plan.settings.pairs[part.data].show
    if not isinstance(show, int):
        unknown = [name for name in show if name not in part.names]
        if unknown:
            raise UserError(f'pairs.{part.data}.show names {unknown[0]!r}, which is none of its pairs')
        return [(name, 'chosen in the config') for name in show]
    if answers is not None:
        spread = np.std(
            [image_scores(answers.records[name], answers.matches[name]) for name in answers.records], axis=0
        )
        why = f'where {plan.settings.networks[answers.name].title} does most differently from method to method'
    else:
        spread, why = _metric_spread(plan, part), 'where the metrics of the methods differ most'
    chosen = np.argsort(-spread, kind='mergesort')[:show]
    return [(part.names[index], why) for index in chosen]


def _metric_spread(plan: Plan, part: SetStanding) -> np.ndarray:
    """(I, ) spread of the methods on each image, mean over the metrics in units of the spread over all images."""
    total = np.zeros(len(part.names))
    for metric in plan.settings.metrics:
        merit = get_metric(metric, plan.settings.protocol).merit
        values = np.nan_to_num(np.stack([merit(row[metric]) for row in part.values.values()]))
        total += values.std(0) / max(float(values.std()), 1e-12)
    return total


def _figures(
    plan: Plan, pairs: PairSet, name: str, methods: Sequence[str], answers: Optional[Answers], root: Path
) -> List[str]:
    index = pairs.names.index(name)
    item = pairs.item(index)
    pictures = {}
    for method in methods:
        found = pictures_of(plan, method, pairs.pairs.name, root)
        pictures[method] = _eight_bit(to_working_range(found.read(name), found.files[name]))
    boxes = {method: _boxes(answers, method, index) for method in methods} if answers else {}
    truth = _truth(answers, index) if answers else np.zeros((0, 4))
    window = choose_detail(list(pictures.values()), truth)
    titles = plan.settings.methods
    figures = []
    if all(titles[method].kind != 'source' for method in methods):  # they would be shown twice
        for source, modality in zip(('first', 'second'), pairs.modalities):
            figures.append(_figure(_eight_bit(item[source]), [], window, modality, ''))
    for method, picture in pictures.items():
        found = boxes.get(method, [])
        figures.append(
            _figure(
                picture,
                found,
                window,
                titles[method].title,
                _count(found) if answers and method in answers.records else '',
            )
        )
    return figures


def _eight_bit(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def choose_detail(pictures: Sequence[np.ndarray], truth: np.ndarray) -> Window:
    """Window (left, top, width, height) in which the pictures differ most: around an object if any is known, anywhere
    else.

    Args:
        pictures: (H, W, 1 or 3) uint8 of each method.
        truth: (n, 4) xyxy boxes of objects.
    """
    height, width = pictures[0].shape[:2]
    gray = [image.astype(np.float32).mean(2) for image in pictures]
    if not len(truth):  # detail, not brightness: a gray sky differs most from a white one
        gray = [image - cv2.GaussianBlur(image, (0, 0), 3) for image in gray]
    variance = np.stack(gray).var(0)
    across = max(32, round(_DETAIL * width))
    if len(truth):
        scores = [
            variance[int(top) : int(bottom) + 1, int(left) : int(right) + 1].mean()
            for left, top, right, bottom in truth
        ]
        left, top, right, bottom = truth[int(np.argmax(scores))]
        across = min(
            max(across, round(1.6 * (right - left)), round(1.3 * (bottom - top) / _RATIO)),
            width,
            round(height / _RATIO),
        )
        center = (left + right) / 2, (top + bottom) / 2
    else:
        mean = cv2.blur(variance, (across, max(1, round(_RATIO * across))))
        center = np.unravel_index(int(np.argmax(mean)), mean.shape)[::-1]
    across = min(across, width)
    down = min(round(_RATIO * across), height)
    left = int(np.clip(round(center[0] - across / 2), 0, width - across))
    top = int(np.clip(round(center[1] - down / 2), 0, height - down))
    return left, top, across, down


def _figure(image: np.ndarray, boxes: Sequence[dict], window: Window, title: str, remark: str) -> str:
    height, width = image.shape[:2]
    address, _ = embed_picture(image, _WIDTH, _QUALITY)
    left, top, across, down = window
    crop = image[top : top + down, left : left + across]
    if across < _WIDTH:
        crop = cv2.resize(crop, (_WIDTH, round(down * _WIDTH / across)), interpolation=cv2.INTER_CUBIC)
    detail, _ = embed_picture(crop, _WIDTH, 75)
    label = escape(title, True)
    whole = draw_picture(address, (height, width), [dict(box, text='') for box in boxes], f'{label}, whole picture')
    whole = whole.removesuffix('</svg>') + _corners(window, max(1.0, width / 200)) + '</svg>'
    inside = [
        dict(box=_moved(box['box'], window), kind=box['kind'], text=box['text'])
        for box in boxes
        if _meets(box['box'], window)
    ]
    close = draw_picture(detail, (down, across), inside, f'{label}, detail', width=across / 180)
    caption = f'<b>{escape(title)}</b>' + (f'<br>{escape(remark)}' if remark else '')
    return f'<figure>{whole}{close}<figcaption>{caption}</figcaption></figure>'


def _corners(window: Window, line: float) -> str:
    """The corners of the detail: a whole frame would look like a box of the detector."""
    left, top, across, down = window
    right, bottom, arm = left + across, top + down, min(across, down) / 4
    path = ''.join(
        f'M{x + dx * arm:.0f} {y}H{x}V{y + dy * arm:.0f}'
        for x, y, dx, dy in ((left, top, 1, 1), (right, top, -1, 1), (left, bottom, 1, -1), (right, bottom, -1, -1))
    )
    return (
        f'<path d="{path}" fill="none" stroke="#000" stroke-opacity=".65" stroke-width="{2.4 * line:g}"/>'
        f'<path d="{path}" fill="none" stroke="#fff" stroke-width="{1.2 * line:g}"/>'
    )


def _moved(box: Sequence[float], window: Window) -> List[float]:
    left, top = window[:2]
    return [box[0] - left, box[1] - top, box[2] - left, box[3] - top]


def _meets(box: Sequence[float], window: Window) -> bool:
    left, top, across, down = window
    return box[0] < left + across and box[2] > left and box[1] < top + down and box[3] > top


def _truth(answers: Answers, image: int) -> np.ndarray:
    truth = next(iter(answers.records.values())).truth
    return truth.box[(truth.image == image) & (truth.score == 0)]


def _boxes(answers: Answers, method: str, image: int) -> List[dict]:
    """Boxes from the score on at which the method has its best F1: right, wrong, and objects that were missed."""
    if method not in answers.records:
        return []
    record, matches = answers.records[method], answers.matches[method]
    shown = (record.found.image == image) & (record.found.score >= operating_score(matches)) & ~matches.found_ignored
    boxes = [
        dict(box=record.found.box[index], kind='hit' if matches.found_match[index] >= 0 else 'wrong',
             text=f'{escape(record.classes[record.found.label[index]])} {record.found.score[index]:.2f}')
        for index in np.flatnonzero(shown)
    ]  # fmt: skip
    met = set(matches.found_match[shown].tolist())
    truth = np.flatnonzero((record.truth.image == image) & (record.truth.score == 0))
    return boxes + [
        dict(box=record.truth.box[index], kind='missed', text=escape(record.classes[record.truth.label[index]]))
        for index in truth
        if index not in met
    ]


def _count(boxes: Sequence[dict]) -> str:
    number: Dict[str, int] = dict(hit=0, wrong=0, missed=0)
    for box in boxes:
        number[box['kind']] += 1
    return f'{number["hit"]} right, {number["wrong"]} wrong, {number["missed"]} missed'
