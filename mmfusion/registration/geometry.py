"""Transforms between the pixels of two images: models, composition, distances, warping.

A matrix is 3x3, float64, and takes pixels (x, y, 1) of the second image to pixels of the first; pixel centers have
integer coordinates.
"""

from typing import List, Optional, Tuple

import cv2
import numpy as np

from mmfusion.utils.errors import UserError

#: Transform models by name, with their numbers of parameters.
MODELS = {'translation': 2, 'similarity': 4, 'affine': 6, 'homography': 8}
Shape = Tuple[int, int]


def check_matrix(matrix, name: str = 'matrix') -> np.ndarray:
    """A 3x3 matrix as float64 with 1 in its last corner.

    Raises:
        UserError: It is none, holds NaN or infinite values, or cannot be inverted.

    Examples:
        >>> check_matrix([[2, 0, 4], [0, 2, 0], [0, 0, 2]]).tolist()
        [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    try:
        found = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.shape != (3, 3) or not np.isfinite(found).all():
        raise UserError(f'{name} must be 3 rows of 3 finite numbers')
    if abs(found[2, 2]) < 1e-12 or np.linalg.cond(found / found[2, 2]) > 1e12:
        raise UserError(f'{name} is singular: it maps the image onto a line; estimate it again')
    return found / found[2, 2]


def scale_matrix(factor: float, down: Optional[float] = None) -> np.ndarray:
    """From pixels of an image to those of the same image resized by a factor (pixel areas coincide, as in
    :func:`cv2.resize`).

    Args:
        factor: Of the width, and of the height too where ``down`` is not given.
        down: Of the height.
    """
    down = factor if down is None else down
    return np.array([[factor, 0, (factor - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1.0]])


def similarity_matrix(scale: float, angle: float, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Scale and turn (radians) about ``source`` (x, y), and bring that point to ``target``."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = target - turn @ source
    return matrix


def center(shape: Shape) -> np.ndarray:
    """Center (x, y) of an image (height, width)."""
    return np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])


def corners(shape: Shape) -> np.ndarray:
    """Outermost pixel centers of an image (height, width), clockwise from the top left: (4, 2)."""
    height, width = shape
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64)


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) through a matrix."""
    mapped = np.c_[points, np.ones(len(points))] @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def corner_distance(one: np.ndarray, other: np.ndarray, shape: Shape) -> float:
    """Mean distance, in pixels of the first image, between where two matrices take the corners of the second.

    Args:
        one: A matrix.
        other: Another.
        shape: (height, width) of the second image.

    Examples:
        >>> moved = np.eye(3)
        >>> moved[:2, 2] = 3, 4
        >>> corner_distance(np.eye(3), moved, (20, 30))
        5.0
    """
    points = corners(shape)
    return float(np.linalg.norm(transform_points(one, points) - transform_points(other, points), axis=1).mean())


def keeps_shape(matrix: np.ndarray, shape: Shape) -> bool:
    """Whether an image (height, width) stays a picture under a matrix: neither mirrored, nor folded, nor flattened to a
    line.

    Examples:
        >>> keeps_shape(np.eye(3), (20, 30)), keeps_shape(np.diag([1.0, -1.0, 1.0]), (20, 30)), keeps_shape(np.diag([1.0, 0.0, 1.0]), (20, 30))
        (True, False, False)
    """
    if not np.isfinite(matrix).all() or (matrix[2] @ np.c_[corners(shape), np.ones(4)].T <= 1e-6).any():
        return False
    placed = transform_points(matrix, corners(shape))
    before, after = placed - np.roll(placed, 1, axis=0), np.roll(placed, -1, axis=0) - placed
    return bool((before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0] > 1e-4 * shape[0] * shape[1]).all())


def local_scale(matrix: np.ndarray) -> float:
    """Pixels of the first image per pixel of the second, as the linear part has it."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def fitting_matrix(first: Shape, second: Shape) -> np.ndarray:
    """Where nothing is known: centers on each other, equal widths."""
    return similarity_matrix(first[1] / second[1], 0.0, center(second), center(first))


def warp(image: np.ndarray, matrix: np.ndarray, shape: Shape, nearest: bool = False) -> np.ndarray:
    """The second image on the pixels of the first, zero where it has none.

    Args:
        image: (H, W) or (H, W, C) with at most four channels.
        matrix: From its pixels to those of the first image.
        shape: (height, width) of the first image.
        nearest: Take the nearest pixel instead of interpolating linearly.
    """
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.warpPerspective(image, matrix, (shape[1], shape[0]), flags=flags)


def valid_region(matrix: np.ndarray, second: Shape, first: Shape) -> np.ndarray:
    """Pixels of the first image that the second one covers: (height, width) bool.

    A pixel counts when its place in the second image lies between pixel centers, so that nothing is extrapolated.

    Examples:
        >>> moved = np.eye(3)
        >>> moved[0, 2] = 2
        >>> valid_region(moved, (2, 4), (2, 4)).tolist()[0]
        [False, False, True, True]
    """
    height, width = first
    inverse = np.linalg.inv(matrix)
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    depth = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
    along = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    down = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    room = 1e-6 * depth  # a whole shift ends exactly on the border
    return (
        (depth > 0)
        & (along >= -room)
        & (down >= -room)
        & (along <= (second[1] - 1) * depth + room)
        & (down <= (second[0] - 1) * depth + room)
    )


def lay(second: np.ndarray, matrix: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The second image on the pixels of the first, zero where nothing is known; bicubic, and averaged first where it
    shrinks.

    Args:
        second: (H, W) or (H, W, C).
        matrix: From its pixels to those of the first image.
        valid: (height, width) bool over the first image, as :func:`valid_region` gives it.

    Returns:
        (height, width[, C]) of the second image's type.
    """
    shrink = min(1.0, 1.5 * local_scale(matrix))
    source = second
    if shrink < 1:  # pixels that would be skipped are averaged
        size = tuple(max(1, round(length * shrink)) for length in second.shape[1::-1])
        source = cv2.resize(second, size, interpolation=cv2.INTER_AREA)
        factors = size[0] / second.shape[1], size[1] / second.shape[0]
        matrix = matrix @ np.linalg.inv(scale_matrix(factors[0], factors[1]))
    moved = cv2.warpPerspective(
        source, matrix, valid.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    if moved.dtype.kind == 'f':  # cubic interpolation overshoots
        moved = np.clip(moved, second.min(), second.max())
    if moved.ndim < second.ndim:  # OpenCV drops a single channel
        moved = moved[..., None]
    moved[~valid] = 0
    return moved


def motion_basis(model: str, x: np.ndarray, y: np.ndarray) -> List[Tuple[np.ndarray, np.ndarray]]:
    """Movement (dx, dy) of points for each parameter of a model, at rest; the parameters are those of
    :func:`step_matrix`.
    """
    one, zero = np.ones_like(x), np.zeros_like(x)
    basis = [(one, zero), (zero, one)]
    if model == 'similarity':
        basis += [(x, y), (-y, x)]
    elif model != 'translation':
        basis += [(x, zero), (y, zero), (zero, x), (zero, y)]
    if model == 'homography':
        basis += [(x * x, x * y), (x * y, y * y)]
    return basis


def lens_basis(model: str, x: np.ndarray, y: np.ndarray) -> List[Tuple[np.ndarray, np.ndarray]]:
    """Movement (dx, dy) of points about the center that no transform of a model makes though a lens does: radial
    distortion with the third
    power of the distance, the first coefficient of :func:`cv2.undistort`; before it, for a translation, scale and
    turn.
    """
    square = x * x + y * y
    basis = [(x, y), (-y, x)] if model == 'translation' else []
    return [*basis, (x * square, y * square)]


def step_matrix(model: str, parameters: np.ndarray) -> np.ndarray:
    """Matrix of a small step of a model."""
    step = np.eye(3)
    step[:2, 2] = parameters[:2]
    if model == 'similarity':
        scale, turn = parameters[2:]
        step[:2, :2] += [[scale, -turn], [turn, scale]]
    elif model != 'translation':
        step[:2, :2] += parameters[2:6].reshape(2, 2)
    if model == 'homography':
        step[2, :2] = -parameters[6:]
    return step
