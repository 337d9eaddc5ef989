"""Boxes as readers of annotations return them, and the rule by which a box is accepted."""

import math
from typing import List, NamedTuple, Optional, Tuple

from mmfusion.fileio.errors import PairDataError

DEFAULT_TOLERANCE = 2.0


class BoxProblem(PairDataError):
    """One box is unusable; the other boxes of the image are not touched by it."""


class RawBox(NamedTuple):
    """One annotated box as the file has it.

    Attributes:
        name: Class name.
        bbox: (x1, y1, x2, y2) in pixels of the stored image.
        difficult: Marked as difficult, truncated beyond use or crowd; becomes ``ignore_flag``.
        mask: Polygons (list of lists x, y, x, y, ...) or run lengths (dict with ``counts`` and ``size``) in pixels of
            the stored image, as mmdet's ``LoadAnnotations`` takes them; None where the format has none.
    """

    name: str
    bbox: Tuple[float, float, float, float]
    difficult: bool = False
    mask: Optional[object] = None


class RawAnnotation(NamedTuple):
    """All boxes of one file.

    Attributes:
        boxes: The boxes in the order of the file.
        size: (height, width) that the file declares, or None.
    """

    boxes: List[RawBox]
    size: Optional[Tuple[int, int]] = None


def check_box(
    box: RawBox, size: Tuple[int, int], source: str, tolerance: float = DEFAULT_TOLERANCE, clip: bool = False
) -> Tuple[List[float], bool]:
    """Apply the rule for boxes: finite, inside the image, of positive width and height.

    A box may exceed the image by ``tolerance`` pixels on each side, which rounding and the 1-based corners of VOC
    produce; it is cut to the image. A box that exceeds it further is an error, or is cut as well with ``clip``. What is
    left must be wider and higher than zero.

    Args:
        box: The box.
        size: (height, width) of the image.
        source: Name of the annotation file, for the message.
        tolerance: Pixels by which a corner may lie outside.
        clip: Cut boxes that exceed the image by more than the tolerance.

    Returns:
        The cut box as a list, and whether it exceeded the tolerance.

    Raises:
        BoxProblem: The box breaks the rule.

    Examples:
        >>> check_box(RawBox('car', (-1, 2, 10, 12)), (20, 30), 'a.xml')
        ([0.0, 2.0, 10.0, 12.0], False)
    """
    height, width = size
    x1, y1, x2, y2 = (float(value) for value in box.bbox)
    shown = f'{source}: box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) of class {box.name!r}'
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise BoxProblem('degenerate box', f'{shown} has a coordinate that is not finite; correct the file')
    if x2 <= x1 or y2 <= y1:
        raise BoxProblem('degenerate box', f'{shown} has no area; correct the file or choose on_error="skip"')
    far = max(-x1, -y1, x2 - width, y2 - height) > tolerance
    if far and not clip:
        raise BoxProblem(
            'box outside the image',
            f'{shown} exceeds the image of {width}x{height} pixels by more than {tolerance:g} pixels; '
            'correct the file, or choose clip_boxes=True or on_error="skip"',
        )
    cut = [min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height)]
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        raise BoxProblem(
            'box outside the image',
            f'{shown} lies outside the image of {width}x{height} pixels; correct the file or choose on_error="skip"',
        )
    return [float(value) for value in cut], far
