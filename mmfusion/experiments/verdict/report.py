"""Evaluation of the records of all cells into the contents of the page; needs no network."""

from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from mmfusion.utils import UserError

from .examples import Example, find_examples, operating_score
from .groups import Grouping, group_images, members
from .matching import SIZE_EDGES, Matches, match
from .record import PICTURE_VALUES, Record, check_same_test_set
from .resampling import draw_weights
from .tasks import DETECTION_METRICS, RowFacts, TaskReport, judge_detection, judge_segmentation, mean_known

Records = Mapping[str, Mapping[int, Record]]


class PictureCost(NamedTuple):
    """What the pictures of one row are worth to the eye.

    Attributes:
        values: Means over images and seeds, by name.
        negative: Part of the pictures that run against both sources.
    """

    values: Dict[str, float]
    negative: float

    @property
    def is_negative(self) -> bool:
        """Whether most pictures look like a negative."""
        return self.negative > 0.5


class Report(NamedTuple):
    """A whole verdict.

    Attributes:
        rows: By name.
        seeds: Seeds that are complete, by row.
        tasks: One report per task.
        pictures: By row.
        examples: Pairs on which the rows of the answer differ most.
        images: Number of test images.
        resamples: Number of resamplings.
        notes: What a reader must know.
        thresholds: Score from which boxes are drawn, by row.
        records: The records of the first seed, by row.
        matches: Their matches, by row.
    """

    rows: Dict[str, RowFacts]
    seeds: Dict[str, List[int]]
    tasks: List[TaskReport]
    pictures: Dict[str, PictureCost]
    examples: List[Example]
    images: int
    resamples: int
    notes: List[str]
    thresholds: Dict[str, float]
    records: Dict[str, Record]
    matches: Dict[str, Matches]

    @property
    def sentence(self) -> str:
        """The answer, in one sentence for each task and setting, the first one being the main one."""
        return self.sentences[0]

    @property
    def sentences(self) -> List[str]:
        """The answers of all tasks and settings, those first that can be given."""
        judged = [judgment for task in self.tasks for judgment in task.judgments.values()]
        given = [judgment.sentence for judgment in judged if judgment.kind != 'incomplete']
        company = [sentence for task in self.tasks for sentence in task.company]
        return [*given, *company, *(judgment.sentence for judgment in judged if judgment.kind == 'incomplete')]


def make_report(
    records: Records,
    rows: Mapping[str, RowFacts],
    metric: str = 'mAP50',
    resamples: int = 2000,
    grouping: Grouping = None,
    size_edges: Sequence[float] = SIZE_EDGES,
    ignore_background: bool = False,
    examples: int = 6,
    seed: int = 0,
) -> Report:
    """Judge all rows by the records of their cells.

    Args:
        records: By row and seed.
        rows: Facts of these rows, in the order of the tables.
        metric: Metric of detection that is judged, a key of :data:`DETECTION_METRICS`; segmentation is judged by mIoU.
        resamples: Number of resamplings.
        grouping: See :func:`group_images`.
        size_edges: See :func:`evaluate_coco`.
        ignore_background: Leave the first class of the class maps out of mIoU.
        examples: Number of pairs to show.
        seed: Seed of the resamplings.

    Raises:
        UserError: There is no record, the records are of different test sets, there is nothing to find in them, or an
            argument is out of range.
    """
    rows = {name: facts for name, facts in rows.items() if records.get(name)}
    if not rows:
        raise UserError('no cell is complete yet, so there is nothing to judge; run the command again to go on')
    if metric not in DETECTION_METRICS:
        raise UserError(f'metric must be one of {", ".join(DETECTION_METRICS)}, got {metric!r}')
    if resamples < 100:
        raise UserError(f'at least 100 resamplings are needed for intervals, got {resamples}')
    check_same_test_set({f'{name}, seed {s}': record for name in rows for s, record in records[name].items()})
    cells = {name: [records[name][s] for s in sorted(records[name])] for name in rows}
    first = next(iter(cells.values()))[0]
    weights = draw_weights(len(first.names), resamples, seed)
    groups = members(group_images(first.names, grouping), first.names)
    tasks, matched = [], {}
    boxes = {name: own for name, own in cells.items() if own[0].found is not None}
    maps = {name: own for name, own in cells.items() if own[0].confusion is not None}
    if boxes:
        if not np.count_nonzero(next(iter(boxes.values()))[0].truth.score == 0):
            raise UserError('the test set has no object to compare detections with; use a labeled test set')
        matched = {name: [match(record, size_edges) for record in own] for name, own in boxes.items()}
        tasks.append(judge_detection(boxes, matched, rows, metric, weights, groups, seed))
    if maps:
        tasks.append(judge_segmentation(maps, rows, weights, groups, ignore_background, seed))
    if not tasks:
        raise UserError('the records hold neither boxes nor class maps; test with a labeled test set')
    thresholds = {name: operating_score(matches[0]) for name, matches in matched.items()}
    return Report(
        rows,
        {name: sorted(records[name]) for name in rows},
        tasks,
        _pictures(cells),
        find_examples(tasks, boxes or maps, matched, examples),
        len(first.names),
        resamples,
        _notes(cells, rows),
        thresholds,
        {name: cells[name][0] for name in cells},
        {name: matches[0] for name, matches in matched.items()},
    )


def _pictures(cells: Mapping[str, Sequence[Record]]) -> Dict[str, PictureCost]:
    costs = {}
    for name, records in cells.items():
        known = [record.pictures for record in records if record.pictures is not None]
        if known:
            values = np.concatenate(known)
            against = values[:, [PICTURE_VALUES.index('CC_first'), PICTURE_VALUES.index('CC_second')]]
            costs[name] = PictureCost(
                dict(zip(PICTURE_VALUES, mean_known(values).tolist())), float((against < 0).all(1).mean())
            )
    return costs


def _notes(cells: Mapping[str, Sequence[Record]], rows: Mapping[str, RowFacts]) -> List[str]:
    notes = []
    lonely = [rows[name].title for name in cells if rows[name].trains and len(cells[name]) == 1]
    if lonely:
        notes.append(
            f'One seed only: {", ".join(lonely)}. How much another seed would change is not known, their intervals are'
            ' of the images alone, and none of them is called different from anything. Two seeds are the least, three'
            ' are better.'
        )
    empty = [
        f'{rows[name].title} (seed {index + 1} of {len(records)})'
        for name, records in cells.items()
        for index, record in enumerate(records)
        if record.found is not None and not len(record.found.image)
    ]
    if empty:
        notes.append(f'No detection at all: {", ".join(empty)}. The training may have failed; look at its losses.')
    images = len(next(iter(cells.values()))[0].names)
    if images < 20:
        notes.append(
            f'{images} test images are few: a bootstrap over fewer than about 20 understates what chance does.'
        )
    return notes
