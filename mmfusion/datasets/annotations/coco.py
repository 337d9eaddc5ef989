"""COCO json, one file for all images: boxes, masks as polygons or run lengths."""

from collections import defaultdict
from pathlib import Path, PurePath
from typing import Any, Dict, List, NamedTuple, Optional

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.reading import max_pixels, read_json, reason
from mmfusion.utils.errors import MissingFileError

from .boxes import RawAnnotation, RawBox

#: Bytes that a file may have; those of COCO itself have 4.5e8.
MAX_BYTES = 2**29
#: Pixels that the outline of a polygon may have; that of the largest picture has 5e4.
MAX_OUTLINE = 1e6


class CocoFile(NamedTuple):
    """Content of a COCO file.

    Attributes:
        annotations: Stem of the image's file name -> its boxes and masks.
        names: Names of the categories, by rising number.
    """

    annotations: Dict[str, RawAnnotation]
    names: List[str]


def read_coco(path: str) -> CocoFile:
    """Read a COCO file of objects.

    ``iscrowd`` marks an object as difficult. Segmentations are kept as mmdet's ``LoadAnnotations(with_mask=True)``
    takes them: a list of polygons, or a dict with ``counts`` and ``size``.

    Args:
        path: The json file, with ``images``, ``categories`` and ``annotations``.

    Raises:
        FileNotFoundError: The file does not exist.
        PairDataError: It is no such json, a field is missing or of another kind, an annotation names an unknown image
            or category, or two images have one stem.
    """
    if not Path(path).is_file():
        raise MissingFileError(f'COCO annotation file {path} does not exist')
    try:
        content = read_json(path, MAX_BYTES)
    except (ValueError, OSError) as error:
        raise PairDataError(
            'malformed annotation', f'{path} is no readable json ({reason(error)}); copy it again'
        ) from error
    if not isinstance(content, dict):
        raise PairDataError(
            'malformed annotation', f'{path} must hold an object with images, categories and annotations'
        )
    names = {
        _field(item, 'id', int, path): _field(item, 'name', str, path) for item in _items(content, 'categories', path)
    }
    objects = defaultdict(list)
    for item in _items(content, 'annotations', path):
        category = _field(item, 'category_id', int, path)
        if category not in names:
            raise PairDataError(
                'malformed annotation',
                f'{path}: an annotation has category_id {category}, which is not among the categories',
            )
        objects[_field(item, 'image_id', int, path)].append(_box(item, names[category], path))
    annotations: Dict[str, RawAnnotation] = {}
    for item in _items(content, 'images', path):
        stem = PurePath(_field(item, 'file_name', str, path)).stem
        if stem in annotations:
            raise PairDataError('ambiguous partner', f'{path} has two images named {stem!r}; keep one of them')
        size = (item.get('height'), item.get('width'))
        known = all(isinstance(side, int) and side > 0 for side in size)
        annotations[stem] = RawAnnotation(objects.pop(_field(item, 'id', int, path), []), size if known else None)
    if objects:
        raise PairDataError(
            'malformed annotation',
            f'{path}: annotations name the image_id {next(iter(objects))}, which is not among the images',
        )
    return CocoFile(annotations, [names[number] for number in sorted(names)])


def _items(content: dict, key: str, path: str) -> List[dict]:
    items = content.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PairDataError('malformed annotation', f'{path}: {key!r} must be a list of objects')
    return items


def _field(item: dict, key: str, kind: type, path: str) -> Any:
    value = item.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PairDataError(
            'malformed annotation',
            f'{path}: {key!r} must be {"text" if kind is str else "an integer"}, found {value!r:.80}',
        )
    return value


def _box(item: dict, name: str, path: str) -> RawBox:
    box = item.get('bbox')
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise PairDataError(
            'malformed annotation', f'{path}: bbox must be four numbers x, y, width, height, found {box!r:.80}'
        )
    x, y, width, height = box
    return RawBox(name, (x, y, x + width, y + height), bool(item.get('iscrowd')), _mask(item.get('segmentation'), path))


def _mask(mask: Any, path: str) -> Optional[object]:
    """The segmentation, None where there is none."""
    if not mask:
        return None
    if isinstance(mask, list):
        good = all(_is_polygon(part) for part in mask)
    else:
        size, counts = (mask.get('size'), mask.get('counts')) if isinstance(mask, dict) else (None, None)
        good = isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)
        good = good and size[0] * size[1] <= max_pixels() and _covers(counts, size[0] * size[1])
    if not good:
        raise PairDataError(
            'malformed annotation',
            f'{path}: segmentation must be polygons of at least three points, or run lengths with '
            f'counts that cover their size, found {mask!r:.80}',
        )
    return mask


def _is_polygon(part: Any) -> bool:
    """Whether these are at least three points, of which pycocotools, which takes memory for every pixel of the outline,
    makes a mask safely.
    """
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2 or not all(_is_number(value) for value in part):
        return False
    points = list(zip(part[::2], part[1::2]))
    return sum(max(abs(x - u), abs(y - v)) for (x, y), (u, v) in zip(points, [*points[1:], points[0]])) <= MAX_OUTLINE


def _covers(counts: Any, pixels: int) -> bool:
    """Whether run lengths, compressed or not, are as long as the image: pycocotools writes as many pixels as they
    say.
    """
    counts = _run_lengths(counts) if isinstance(counts, str) else counts
    good = isinstance(counts, list) and all(
        isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts
    )
    return good and sum(counts) == pixels


def _run_lengths(text: str) -> Optional[List[int]]:
    """Decode the run lengths of COCO: six bits a character, five of them number; from the third on, the difference to
    the last but one.

    Examples:
        >>> _run_lengths('52203')
        [5, 2, 2, 2, 5]
    """
    counts: List[int] = []
    value = shift = 0
    for char in text:
        bits = ord(char) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # a negative number
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return None if shift else counts


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
    )  # neither NaN nor infinite either
