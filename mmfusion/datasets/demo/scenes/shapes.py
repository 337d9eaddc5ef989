"""Silhouettes of the demo objects as maps of part numbers."""

import cv2
import numpy as np

# Part numbers, shared by all shapes; render.py gives each its reflectance and its temperature.
BODY, HEAD, LIMB, LEGS, GLASS, WHEEL, HOOD, LIGHT, POLE = range(1, 10)
NUM_PARTS = 10
_SHIFT = 4  # fractional bits of OpenCV's drawing functions


class _Canvas:
    """Fills shapes given in relative coordinates (x, y in [0, 1])."""

    def __init__(self, height: int, width: int):
        self.parts = np.zeros((height, width), np.uint8)
        self.scale = np.array([width - 1, height - 1])

    def polygon(self, points, part: int) -> None:
        cv2.fillPoly(
            self.parts, [np.rint(np.asarray(points) * self.scale * 2**_SHIFT).astype(np.int32)], part, shift=_SHIFT
        )

    def box(self, x1: float, y1: float, x2: float, y2: float, part: int) -> None:
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], part)

    def disc(self, x: float, y: float, radius: float, part: int) -> None:
        """A disc whose radius is relative to the height."""
        center = np.rint(np.array([x, y]) * self.scale * 2**_SHIFT).astype(int)
        cv2.circle(self.parts, center.tolist(), int(round(radius * self.scale[1] * 2**_SHIFT)), part, -1, shift=_SHIFT)


def _person(canvas: _Canvas, variant: float) -> None:
    stride = 0.08 + 0.3 * variant
    swing = 0.04 + 0.22 * variant
    canvas.polygon(
        [
            (0.38, 0.5),
            (0.55, 0.5),
            (0.5 - stride * 0.2, 0.75),
            (0.5 - stride, 1.0),
            (0.34 - stride * 0.8, 1.0),
            (0.34, 0.75),
        ],
        LEGS,
    )
    canvas.polygon(
        [
            (0.45, 0.5),
            (0.64, 0.5),
            (0.66 + stride * 0.4, 0.75),
            (0.62 + stride, 1.0),
            (0.48 + stride * 0.9, 1.0),
            (0.5, 0.75),
        ],
        LEGS,
    )
    canvas.polygon(
        [(0.3, 0.2), (0.4, 0.22), (0.3, 0.4), (0.22 - swing, 0.57), (0.1 - swing * 0.4, 0.55), (0.2, 0.36)], LIMB
    )
    canvas.polygon(
        [(0.7, 0.2), (0.6, 0.22), (0.72, 0.4), (0.78 + swing, 0.57), (0.9 + swing * 0.4, 0.55), (0.82, 0.36)], LIMB
    )
    canvas.polygon([(0.28, 0.19), (0.72, 0.19), (0.69, 0.55), (0.33, 0.55)], BODY)
    canvas.disc(0.5, 0.09, 0.088, HEAD)


def _car_side(canvas: _Canvas) -> None:
    canvas.polygon(
        [(0.0, 0.5), (0.2, 0.42), (0.3, 0.08), (0.72, 0.08), (0.86, 0.44), (1.0, 0.5), (1.0, 0.86), (0.0, 0.86)], BODY
    )
    canvas.polygon([(0.75, 0.45), (0.98, 0.5), (0.98, 0.72), (0.75, 0.72)], HOOD)
    canvas.polygon([(0.27, 0.42), (0.35, 0.15), (0.5, 0.15), (0.5, 0.42)], GLASS)
    canvas.polygon([(0.54, 0.42), (0.54, 0.15), (0.69, 0.15), (0.8, 0.42)], GLASS)
    canvas.box(0.93, 0.55, 1.0, 0.66, LIGHT)
    for x in (0.22, 0.78):
        canvas.disc(x, 0.84, 0.16, WHEEL)


def _car_front(canvas: _Canvas) -> None:
    canvas.polygon(
        [(0.1, 0.4), (0.24, 0.04), (0.76, 0.04), (0.9, 0.4), (0.96, 0.5), (0.96, 0.88), (0.04, 0.88), (0.04, 0.5)], BODY
    )
    canvas.polygon([(0.2, 0.4), (0.3, 0.1), (0.7, 0.1), (0.8, 0.4)], GLASS)
    canvas.box(0.28, 0.52, 0.72, 0.78, HOOD)
    canvas.box(0.07, 0.54, 0.22, 0.68, LIGHT)
    canvas.box(0.78, 0.54, 0.93, 0.68, LIGHT)
    canvas.box(0.08, 0.86, 0.24, 1.0, WHEEL)
    canvas.box(0.76, 0.86, 0.92, 1.0, WHEEL)


def _lamp(canvas: _Canvas, variant: float) -> None:
    canvas.box(0.4, 0.12, 0.6, 1.0, POLE)
    canvas.box(0.25, 0.94, 0.75, 1.0, POLE)
    if variant < 0.5:
        canvas.disc(0.5, 0.12, 0.12, LIGHT)
    else:
        canvas.polygon([(0.15, 0.2), (0.3, 0.02), (0.7, 0.02), (0.85, 0.2)], LIGHT)


def draw_parts(kind: str, height: int, width: int, variant: float = 0.5, flip: bool = False) -> np.ndarray:
    """Draw a silhouette.

    Args:
        kind: ``'person'``, ``'car'`` or ``'lamp'``.
        height: Height of the map.
        width: Width of the map.
        variant: Number in [0, 1) that chooses the pose or the view.
        flip: Mirror it.

    Returns:
        (height, width) uint8, 0 outside, otherwise a part number.

    Examples:
        >>> parts = draw_parts('person', 40, 16)
        >>> parts.shape, int(parts[3, 8]) == HEAD, int(parts[0, 0])
        ((40, 16), True, 0)
    """
    canvas = _Canvas(height, width)
    if kind == 'person':
        _person(canvas, variant)
    elif kind == 'car':
        _car_side(canvas) if variant < 0.65 else _car_front(canvas)
    else:
        _lamp(canvas, variant)
    return np.ascontiguousarray(canvas.parts[:, ::-1]) if flip else canvas.parts
