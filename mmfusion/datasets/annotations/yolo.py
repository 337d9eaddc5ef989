"""YOLO text: one line ``class cx cy w h`` per object, relative to the image size."""

from pathlib import Path
from typing import List, Sequence, Tuple

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.reading import read_text, reason
from mmfusion.utils.errors import MissingFileError

from .boxes import RawAnnotation, RawBox


def read_class_names(path: str) -> List[str]:
    """Read the names behind the class numbers.

    Args:
        path: A text file with one name per line, in the order of the numbers, or with lines ``number name``.

    Returns:
        Names; the index is the class number.

    Raises:
        FileNotFoundError: The file does not exist.
        PairDataError: The file is empty, no text, or its numbers do not run 0, 1, 2...
    """
    if not Path(path).is_file():
        raise MissingFileError(
            f'class list {path} does not exist. YOLO labels hold class numbers only: '
            f'write one line "number name" per class, '
            'e.g. "0 person"'
        )
    try:
        lines = [line.split(maxsplit=1) for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise PairDataError('malformed class list', f'class list {path} cannot be read: {reason(error)}') from error
    if not lines:
        raise PairDataError('empty class list', f'class list {path} is empty')
    if all(len(line) == 2 and line[0].isdecimal() and len(line[0]) < 10 for line in lines):
        numbers = [int(line[0]) for line in lines]
        if sorted(numbers) != list(range(len(numbers))):
            raise PairDataError(
                'malformed class list',
                f'class list {path}: the numbers must be 0 to {len(numbers) - 1}, each once; found {numbers[:20]}',
            )
        return [name.strip() for _, name in sorted((int(number), name) for number, name in lines)]
    return [' '.join(line).strip() for line in lines]


def read_yolo(path: str, names: Sequence[str], size: Tuple[int, int]) -> RawAnnotation:
    """Read a YOLO label file.

    A file without any line is an image without objects, which is how YOLO tools store one.

    Args:
        path: The text file.
        names: Class names by number.
        size: (height, width) of the image.

    Returns:
        Boxes in pixels. A class number without a name becomes the name ``'number 7'``, which the data set reports as an
        unknown class.

    Raises:
        PairDataError: The file is absent, or a line has not five numbers.
    """
    try:
        lines = read_text(path).splitlines()
    except FileNotFoundError:
        raise PairDataError(
            'missing annotation', f'annotation file {path} does not exist; an image without objects needs an empty file'
        ) from None
    except (OSError, ValueError) as error:
        raise PairDataError(
            'malformed annotation', f'annotation file {path} cannot be read as text: {reason(error)}'
        ) from error
    height, width = size
    boxes = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            kind, cx, cy, w, h = (float(value) for value in line.split())
        except ValueError:
            raise PairDataError(
                'malformed annotation',
                f'{path}, line {number}: expected "class cx cy w h", found {line.strip()[:80]!r}',
            ) from None
        known = kind.is_integer() and 0 <= kind < len(names)
        name = names[int(kind)] if known else f'number {line.split()[0][:20]}'
        boxes.append(
            RawBox(name, ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height))
        )
    return RawAnnotation(boxes)
