"""PASCAL VOC xml, one file per image."""

import math
from typing import Optional
from xml.etree import ElementTree

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.reading import read_bytes, reason

from .boxes import RawAnnotation, RawBox


def _number(node: ElementTree.Element, tag: str, path: str) -> float:
    text = node.findtext(tag)
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise PairDataError(
            'malformed annotation', f'{path}: <{node.tag}> has no number in <{tag}> (found {_shortened(text)})'
        )
    return value


def _shortened(text: Optional[str]) -> str:
    return repr(text if text is None or len(text) <= 40 else f'{text[:40]}...')


def read_voc(path: str) -> RawAnnotation:
    """Read the objects of a VOC xml file.

    Corners are taken as they stand, without subtracting the 1 of the MATLAB convention, as mmdet does. The tags
    ``difficult`` and ``size`` may be absent. A file without any object is a valid image without objects. Nothing
    outside the file is read, and entities that would grow it more than a hundredfold are refused by expat.

    Args:
        path: The xml file.

    Returns:
        Boxes with their class names, and the declared image size if there is one.

    Raises:
        PairDataError: The file is absent, empty, no xml, of more than 16 MiB, or an object lacks its name or its
            corners.
    """
    try:
        text = read_bytes(path)
    except FileNotFoundError:
        raise PairDataError(
            'missing annotation', f'annotation file {path} does not exist; add it or choose on_error="skip"'
        ) from None
    except OSError as error:
        raise PairDataError(
            'malformed annotation', f'annotation file {path} cannot be read: {reason(error)}'
        ) from error
    if not text.strip():
        raise PairDataError(
            'empty annotation',
            f'annotation file {path} is empty; a VOC file without objects still needs its <annotation> element',
        )
    try:
        root = ElementTree.fromstring(text)
    except (
        ElementTree.ParseError,
        ValueError,
        LookupError,
    ) as error:  # the latter two from encodings that Python does not know
        raise PairDataError(
            'malformed annotation', f'annotation file {path} is no valid xml ({error}); copy it again'
        ) from error
    boxes = []
    for node in root.iter('object'):
        name = (node.findtext('name') or '').strip()
        corners = node.find('bndbox')
        if not name or corners is None:
            raise PairDataError(
                'malformed annotation', f'{path}: an <object> has no <{"name" if not name else "bndbox"}>'
            )
        difficult = (node.findtext('difficult') or '0').strip() not in ('', '0')
        boxes.append(
            RawBox(name, tuple(_number(corners, tag, path) for tag in ('xmin', 'ymin', 'xmax', 'ymax')), difficult)
        )
    size_node = root.find('size')
    size = None
    if size_node is not None:
        height, width = (int(_number(size_node, tag, path)) for tag in ('height', 'width'))
        size = (height, width) if height > 0 and width > 0 else None  # some tools write 0 for "not known"
    return RawAnnotation(boxes, size)
