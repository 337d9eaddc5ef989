"""Predictions and ground truth of one test run, image by image: all that the statistics of a verdict need."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from mmfusion.fileio import whole_file
from mmfusion.fileio.reading import open_regular
from mmfusion.utils import UserError

#: What a picture costs: values of the default protocol, and the correlation with either source.
PICTURE_METRICS = ('SSIM', 'Qabf', 'VIF', 'CC')
PICTURE_VALUES = ('SSIM', 'Qabf', 'VIF', 'CC_first', 'CC_second')
_FORMAT = 1
_MAX_BYTES = 2**30
#: Errors of numpy and zipfile for files that are damaged.
_DAMAGES = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class Boxes(NamedTuple):
    """Boxes of all images, one after the other.

    Attributes:
        image: (n, ) index of the image.
        box: (n, 4) xyxy in pixels of the original image, float64.
        label: (n, ) class.
        score: (n, ) confidence; of ground truth, 1 where evaluation ignores the box and else 0.
    """

    image: np.ndarray
    box: np.ndarray
    label: np.ndarray
    score: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Tuple[int, Sequence[float], int, float]]) -> 'Boxes':
        """Boxes out of ``(image, box, label, score)``."""
        image, box, label, score = zip(*rows) if rows else ((), (), (), ())
        return cls(
            np.array(image, np.int64),
            np.array(box, np.float64).reshape(-1, 4),
            np.array(label, np.int64),
            np.array(score, np.float64),
        )


class Record(NamedTuple):
    """What one trained network predicted on the test set.

    Attributes:
        names: Names of the images, in the order of the data set.
        sizes: (I, 2) height and width of the original images.
        classes: Names of the classes of boxes.
        truth: Annotated boxes, None without a detector.
        found: Detected boxes, None without a detector.
        seg_classes: Names of the classes of pixels.
        confusion: (I, C, C) pixels by true and predicted class, None without a segmentor.
        pictures: (I, 5) values named in :data:`PICTURE_VALUES`, NaN where undefined; None where the row makes no
            picture.
    """

    names: Tuple[str, ...]
    sizes: np.ndarray
    classes: Tuple[str, ...] = ()
    truth: Optional[Boxes] = None
    found: Optional[Boxes] = None
    seg_classes: Tuple[str, ...] = ()
    confusion: Optional[np.ndarray] = None
    pictures: Optional[np.ndarray] = None

    def save(self, path: Union[str, Path]) -> None:
        """Write the record as npz, whole or not at all."""
        arrays: Dict[str, np.ndarray] = dict(
            format=np.array(_FORMAT),
            names=np.array(self.names, str),
            sizes=self.sizes,
            classes=np.array(self.classes, str),
            seg_classes=np.array(self.seg_classes, str),
        )
        for name in ('truth', 'found'):
            boxes = getattr(self, name)
            if boxes is not None:
                arrays.update({f'{name}_{field}': getattr(boxes, field) for field in Boxes._fields})
        arrays.update(
            {name: getattr(self, name) for name in ('confusion', 'pictures') if getattr(self, name) is not None}
        )
        with whole_file(path, binary=True) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Union[str, Path]) -> 'Record':
        """Read a record.

        Raises:
            UserError: The file is damaged, or of another version of the format.
        """
        remedy = 'remove its folder and run the command again'
        try:
            with open_regular(path, _MAX_BYTES) as file:
                content = np.load(file, allow_pickle=False)
                if not isinstance(content, np.lib.npyio.NpzFile):
                    raise ValueError('it is no npz file')
                unpacked = sum(entry.file_size for entry in content.zip.infolist())
                if unpacked > _MAX_BYTES:
                    raise ValueError(f'it unpacks to {unpacked} bytes, more than the {_MAX_BYTES} that are read')
                arrays = dict(content)
            version = int(arrays.get('format', -1))
            record = cls._from_arrays(arrays) if version == _FORMAT else None
        except _DAMAGES as error:
            raise UserError(f'{path} cannot be read as the record of a test: {error}; {remedy}') from error
        if record is None:
            raise UserError(f'{path} was written by another version of the program; {remedy}')
        return record

    @classmethod
    def _from_arrays(cls, arrays: Dict[str, np.ndarray]) -> 'Record':
        boxes = {
            name: Boxes(*(arrays[f'{name}_{field}'] for field in Boxes._fields)) if f'{name}_image' in arrays else None
            for name in ('truth', 'found')
        }
        return cls(
            tuple(arrays['names'].tolist()),
            arrays['sizes'],
            tuple(arrays['classes'].tolist()),
            **boxes,
            seg_classes=tuple(arrays['seg_classes'].tolist()),
            confusion=arrays.get('confusion'),
            pictures=arrays.get('pictures'),
        )


def check_same_test_set(records: Dict[str, Record]) -> None:
    """Make sure that all records are of the same images and labels, without which nothing about them is paired.

    Raises:
        UserError: They are not; the message names the record.
    """
    first: Dict[str, tuple] = {}
    for name, record in records.items():
        labels = dict(names=[record.names])  # a row may have one of several tasks alone, so each is compared by itself
        if record.truth is not None:
            labels['boxes'] = [record.classes, *record.truth]
        if record.confusion is not None:
            labels['maps'] = [record.seg_classes, record.confusion.sum(2)]
        for what, mine in labels.items():
            first_name, theirs = first.setdefault(what, (name, mine))
            if not all(np.array_equal(a, b) for a, b in zip(mine, theirs)):
                raise UserError(
                    f'{name} and {first_name} were tested on different images or labels, so they cannot be compared;'
                    ' the data have changed since. Choose another --work-dir'
                )


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int, ignore: int = 255) -> np.ndarray:
    """Pixels by true (rows) and predicted class (columns), (C, C) int64; pixels labeled ``ignore`` count nowhere.

    Raises:
        ValueError: A label is not a class.

    Examples:
        >>> confusion_matrix(np.array([0, 1, 1, 255]), np.array([0, 0, 1, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    valid = truth != ignore
    truth, predicted = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
    if truth.size and not 0 <= int(truth.min()) <= int(truth.max()) < classes:
        raise ValueError(f'label {int(truth.max())} where the data set has {classes} classes')
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
