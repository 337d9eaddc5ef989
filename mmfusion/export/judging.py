"""Comparison of a graph in half precision or int8 with the one in float32, on pairs of the user."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from mmfusion.apis.pairs import Pair, resolve_pairs
from mmfusion.datasets.annotations import RawAnnotation, read_class_names, read_coco, read_voc, read_yolo
from mmfusion.runtime.folders import read_picture
from mmfusion.runtime.metadata import GraphInfo
from mmfusion.runtime.pictures import check_pair, to_input
from mmfusion.utils import UserError
from mmfusion.utils.errors import MissingFileError

from .checking import example_pictures, sizes_to_check
from .detectors import BOXES, LABELS, SCORES
from .graph import FLOATS
from .tasks import CLASS_MAP

MIN_PSNR = 40.0  # dB, of every pair's picture in [0, 1]
MAX_MAP_LOSS = 1.0  # points of 100
MAX_OTHER_CLASS = 0.01  # share of the pixels of a class map
MAX_CALIBRATED = 32

PathLike = Union[str, Path]
Feeds = Dict[str, np.ndarray]
Row = Tuple[int, Sequence[float], int, float]  # image, box xyxy, class, and score or whether the box is ignored


class Figures(NamedTuple):
    """What a smaller graph keeps.

    Attributes:
        pairs: How many were compared.
        psnr: Lowest of the pairs, in dB; infinite where nothing differs.
        mean_psnr: Mean over the pairs, in dB.
        map50: mAP50 of the graph in float32 and of the smaller one, in points; None without a detector.
        other_class: Share of pixels with another class; None without a segmentor.
    """

    pairs: int
    psnr: float
    mean_psnr: float
    map50: Optional[Tuple[float, float]] = None
    other_class: Optional[float] = None

    @property
    def passed(self) -> bool:
        """Whether they are within the bounds."""
        return (
            self.psnr >= MIN_PSNR
            and (self.map50 is None or self.map50[0] - self.map50[1] <= MAX_MAP_LOSS)
            and (self.other_class or 0) <= MAX_OTHER_CLASS
        )

    @property
    def only_tasks_fail(self) -> bool:
        """Whether the picture is within its bound, and what the task networks find in it is not."""
        return not self.passed and self.psnr >= MIN_PSNR

    def __str__(self) -> str:
        text = f'PSNR to float32 at least {self.psnr:.1f} dB, {self.mean_psnr:.1f} in the mean of {self.pairs} pairs'
        if self.map50 is not None:
            text += f'; mAP50 {self.map50[1]:.1f} against {self.map50[0]:.1f}'
        if self.other_class is not None:
            text += f'; another class on {100 * self.other_class:.2f} % of the pixels'
        return text

    def to_dict(self) -> Dict[str, Any]:
        """Numbers for the metadata, rounded; JSON has no infinity, and None stands for it."""
        numbers: Dict[str, Any] = dict(
            pairs=self.pairs,
            psnr=round(self.psnr, 2) if np.isfinite(self.psnr) else None,
            mean_psnr=round(self.mean_psnr, 2) if np.isfinite(self.mean_psnr) else None,
        )
        if self.map50 is not None:
            numbers['map50_float32'], numbers['map50'] = (round(value, 2) for value in self.map50)
        if self.other_class is not None:
            numbers['other_class'] = round(self.other_class, 6)
        return numbers


class UserPairs:
    """Pairs of two folders or two files, as inputs of a graph.

    Args:
        first: Folder or file of the first source.
        second: The same of the second one.
        labels: Boxes of the pairs: a COCO ``.json``, or a folder with a ``.xml`` (VOC) or ``.txt`` (YOLO) by the name
            of the picture.

    Raises:
        UserError: A path is missing, or there is no pair.
    """

    def __init__(self, first: PathLike, second: PathLike, labels: Optional[PathLike] = None) -> None:
        self.pairs: List[Pair] = resolve_pairs(first, second)
        self.labels = None if labels is None else str(labels)
        if self.labels is not None and not os.path.exists(self.labels):
            raise MissingFileError(f'there are no labels at {self.labels}')

    def __len__(self) -> int:
        return len(self.pairs)

    def feeds(self, info: GraphInfo, most: Optional[int] = None) -> Iterator[Feeds]:
        """Inputs (1, H, W, C) of each pair, or of ``most`` of them that lie evenly."""
        chosen: Sequence[Pair] = self.pairs
        if most is not None and most < len(chosen):
            chosen = [self.pairs[index] for index in np.linspace(0, len(self.pairs) - 1, most).round().astype(int)]
        for pair in chosen:
            files = (str(pair.first), str(pair.second))
            pictures = [
                to_input(read_picture(file), channels, info.input, file) for file, channels in zip(files, info.channels)
            ]
            check_pair(*pictures, info, files)
            yield {name: picture[None] for name, picture in zip(('first', 'second'), pictures)}

    def check_labels(self, classes: Sequence[str]) -> None:
        """Look for the labels of every pair before anything is computed.

        Raises:
            UserError: As :meth:`truth`.
        """
        self.truth(classes, np.full((len(self), 2), 1000))  # a size that only scales boxes

    def truth(self, classes: Sequence[str], sizes: np.ndarray) -> List[Row]:
        """Boxes of all pairs.

        Raises:
            UserError: A pair has no labels, or none of their classes is known to the detector.
        """
        rows, names = [], set()
        index = {name: label for label, name in enumerate(classes)}
        for number, (annotation, _) in enumerate(zip(self._annotations(sizes), self.pairs)):
            for box in annotation.boxes:
                names.add(box.name)
                if box.name in index:
                    rows.append((number, box.bbox, index[box.name], float(box.difficult)))
        if not rows:
            raise UserError(
                f'{self.labels} has no box of a class that the detector knows '
                f'({", ".join(classes) or "it names none"}); it has '
                f'{", ".join(sorted(names)) or "no boxes"} for these pairs'
            )
        return rows

    def _annotations(self, sizes: np.ndarray) -> Iterator[RawAnnotation]:
        if os.path.isfile(self.labels):
            known = read_coco(self.labels).annotations
            for pair in self.pairs:
                stem = Path(str(pair.first)).stem
                if stem not in known:
                    raise UserError(f'{self.labels} has no image named {stem}; leave the pair out, or add the image')
                yield known[stem]
            return
        folder = Path(self.labels)
        for pair, size in zip(self.pairs, sizes.tolist()):
            stem = Path(str(pair.first)).stem
            if (folder / f'{stem}.xml').is_file():
                yield read_voc(str(folder / f'{stem}.xml'))
            elif (folder / f'{stem}.txt').is_file():
                yield read_yolo(str(folder / f'{stem}.txt'), self._yolo_names(folder), tuple(size))
            else:
                raise UserError(
                    f'{folder} has neither {stem}.xml nor {stem}.txt; leave the pair out, or add its labels'
                )

    @staticmethod
    def _yolo_names(folder: Path) -> List[str]:
        for place in (folder, folder.parent, folder.parent.parent):
            if (place / 'classes.txt').is_file():
                return read_class_names(str(place / 'classes.txt'))
        raise MissingFileError(f'{folder} has YOLO labels, but no classes.txt in it or above it names the classes')


def compare(full, reduced, pairs: UserPairs, info: GraphInfo) -> Figures:
    """Run two graphs on all pairs.

    Args:
        full: onnxruntime session of the graph in float32, with all outputs.
        reduced: The same of the smaller one.
        pairs: With labels where there is a detector.
        info: Of the graph.

    Raises:
        UserError: A pair cannot be read, is too small, or has no labels.
    """
    names = [output.name for output in full.get_outputs()]
    psnr, other, sizes = [], [], []
    rows: Tuple[list, list] = ([], [])
    for number, feeds in enumerate(pairs.feeds(info)):
        sizes.append(feeds['first'].shape[1:3])
        both = [dict(zip(names, session.run(names, feeds))) for session in (full, reduced)]
        error = float(np.square(both[0][FLOATS].astype(np.float64) - both[1][FLOATS]).mean())
        psnr.append(float('inf') if error == 0 else -10 * np.log10(error) if np.isfinite(error) else float('-inf'))
        if CLASS_MAP in names:
            other.append(float((both[0][CLASS_MAP] != both[1][CLASS_MAP]).mean()))
        if BOXES in names:
            for side, found in zip(rows, both):
                side += [
                    (number, box, int(label), float(score))
                    for box, score, label in zip(found[BOXES][0], found[SCORES][0], found[LABELS][0])
                    if score > 0
                ]
    map50 = None
    if BOXES in names:
        classes = next(task['classes'] for task in info.tasks.values() if task['kind'] == 'detection')
        truth = pairs.truth(classes, np.array(sizes))
        first, second = (_map50(truth, side, len(sizes), len(classes)) for side in rows)
        map50 = (first, second)
    return Figures(
        len(psnr), min(psnr), float(np.mean(psnr)), map50, float(np.mean(other)) if CLASS_MAP in names else None
    )


def _map50(truth: Sequence[Row], found: Sequence[Row], images: int, classes: int) -> float:
    """COCO's mean average precision at an overlap of 0.5 over the classes that occur, in points."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for rows in (truth, found):
            sides.append(COCO())
            sides[-1].dataset = dict(
                images=[dict(id=image) for image in range(images)],
                categories=[dict(id=label) for label in range(classes)],
                annotations=[_coco_box(index, *row) for index, row in enumerate(rows, 1)],
            )
            sides[-1].createIndex()
        evaluation = COCOeval(*sides, 'bbox')
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][0, :, :, 0, -1]  # recalls, classes
    return 100 * float(precision[precision > -1].mean())


def _coco_box(index: int, image: int, box: Sequence[float], label: int, score: float) -> Dict[str, Any]:
    left, top, right, bottom = map(float, box)
    size = [left, top, right - left, bottom - top]
    return dict(
        id=index,
        image_id=image,
        category_id=label,
        bbox=size,
        area=size[2] * size[3],
        score=score,
        iscrowd=int(score),  # of labels 0 or 1; nobody asks it of what was found
    )


def check_it_runs(session, info: GraphInfo) -> None:
    """Run a graph on the sizes of the check of every export.

    Raises:
        UserError: It does not run on one of them, or gives values that are not finite.
    """
    for shape in sizes_to_check(info.smallest):
        feeds = dict(zip(('first', 'second'), example_pictures(shape, info.channels, info.input)))
        try:
            (picture,) = session.run([FLOATS], feeds)
        except RuntimeError as error:  # onnxruntime's own errors are RuntimeErrors
            line = str(error).strip().splitlines()[0][:300]
            raise UserError(
                f'the smaller graph does not run on {shape[0]} pictures of {shape[2]}x{shape[1]}: {line}. '
                f'No file was written'
            ) from error
        if not np.isfinite(picture).all():
            raise UserError('the smaller graph gives values that are not finite. No file was written')
