"""Refinement: Gauss-Newton steps on the difference of the features, from coarse pictures to finer ones."""

from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from .features import SMOOTHING, WIDE, Features, Picture, align
from .geometry import Shape, center, keeps_shape, lens_basis, motion_basis, scale_matrix, step_matrix

_SOFTNESS = 1.0  # squared difference of features at which a pixel counts half
_RIDGE = 1e-5  # of the mean curvature: keeps directions at rest that the pictures say nothing about
_LENS_RIDGE = 1e-3  # likewise, draws the distortion toward none
_STILL = 0.02  # pixels
_SIDE = 224
_MOST = _SIDE * _SIDE  # pixels that a step looks at; of larger pictures those with the strongest slopes


class Level(NamedTuple):
    """One stage of a refinement.

    Attributes:
        width: To which the first image is reduced.
        smoothing: Of the features, in pixels of that width: how far edges may be apart.
    """

    width: int
    smoothing: float = SMOOTHING


FROM_FAR = (Level(80, WIDE), Level(160, WIDE))
FROM_NEAR = (Level(160),)
TO_THE_END = (Level(160, WIDE), Level(320, WIDE), Level(320))


def refine(
    first: Picture,
    second: Picture,
    matrix: np.ndarray,
    model: str,
    levels: Sequence[Level],
    steps: int = 10,
    lens: bool = False,
) -> np.ndarray:
    """Improve a transform.

    Where a lens bends one picture against the other, edges in the middle and at the corners ask for different
    transforms, and the result would depend on where a scene happens to have its edges. With ``lens`` a radial
    distortion about the center of the first image is estimated beside the transform, for a translation turn and scale
    too; the result is the transform of the model that follows both best over the whole picture, by least squares. The
    distortion itself is not returned.

    Args:
        first: First image.
        second: Second image.
        matrix: Start: from pixels of the second image to pixels of the first, right within a few pixels of the first
            level.
        model: One of :data:`~mmfusion.registration.geometry.MODELS`; the steps are of this kind.
        levels: Stages, one after the other.
        steps: Most steps in each of them.
        lens: Allow for a distortion of the lens.
    """
    start, bend = matrix, np.zeros(len(lens_basis(model, *np.zeros((2, 1)))) if lens else 0)
    for level in levels:
        matrix, bend = _refine_level(first, second, matrix, model, level, steps, bend)
    if lens:
        matrix = _straight(matrix, model, bend, first.shape)
        matrix = matrix if keeps_shape(matrix, second.shape) else start
    return matrix / matrix[2, 2]


def _refine_level(
    first: Picture, second: Picture, matrix: np.ndarray, model: str, level: Level, steps: int, bend: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    aligned = align(first, second, matrix, level.width, level.smoothing)
    values, weight = aligned.first
    shape = weight.shape
    across = cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8)
    rows, columns = _strongest(across, down, weight)
    values, weight, across, down = (array[rows, columns] for array in (values, weight, across, down))
    x, y = columns.astype(np.float32), rows.astype(np.float32)
    to_unit = _to_unit(shape)
    radius = 1 / to_unit[0, 0]
    unit = [(axis - np.float32(middle)) / np.float32(radius) for axis, middle in zip((x, y), center(shape))]
    rigid = motion_basis(model, *unit)
    radial = lens_basis(model, *unit) if len(bend) else []
    basis = rigid + radial
    slopes = np.stack([across * dx[..., None] + down * dy[..., None] for dx, dy in basis]).reshape(len(basis), -1)
    to_pixels = np.linalg.inv(to_unit)
    total, bent = np.eye(3), bend.copy()
    for _ in range(steps):
        right, below = _movement(radial, bent * radius)
        moved, known = _look_up(aligned.second, total, x - right, y - below)
        difference = moved - values
        trust = known * weight / (1 + np.einsum('hwc,hwc->hw', difference, difference) / _SOFTNESS)
        weighted = slopes * np.repeat(trust.reshape(-1), values.shape[-1])
        curvature = (weighted @ slopes.T).astype(np.float64)
        wanted = (weighted @ difference.reshape(-1)).astype(np.float64)
        usual = np.trace(curvature[: len(rigid), : len(rigid)]) / len(rigid)
        ridge = np.r_[np.full(len(rigid), _RIDGE), np.full(len(radial), _LENS_RIDGE)] * usual
        wanted[len(rigid) :] -= ridge[len(rigid) :] * bent * radius
        step = np.linalg.solve(curvature + np.diag(ridge + 1e-9), wanted)
        length = float(np.abs(step).max())
        if length > level.width / 4:  # it ran away; the start was better
            break
        total = to_pixels @ step_matrix(model, step[: len(rigid)] / radius) @ to_unit @ total
        bent += step[len(rigid) :] / radius
        if length < _STILL:
            break
    scale = scale_matrix(aligned.factor)
    found = np.linalg.inv(scale) @ total @ scale @ matrix
    return (found, bent) if keeps_shape(found, second.shape) else (matrix, bend)


def _to_unit(shape: Shape) -> np.ndarray:
    """From pixels to coordinates about the center in which half the width is 1."""
    radius, middle = shape[1] / 2, center(shape)
    return np.array([[1 / radius, 0, -middle[0] / radius], [0, 1 / radius, -middle[1] / radius], [0, 0, 1]])


def _movement(basis: List[Tuple[np.ndarray, np.ndarray]], parameters: np.ndarray):
    """(dx, dy) of the points of a basis; 0 for an empty one."""
    return (sum(factor * part[axis] for factor, part in zip(parameters.astype(np.float32), basis)) for axis in (0, 1))


def _straight(matrix: np.ndarray, model: str, bend: np.ndarray, shape: Shape) -> np.ndarray:
    """The transform without distortion that is nearest over the picture to one with it."""
    to_unit = _to_unit(shape)
    y, x = np.mgrid[-1:1:15j, -1:1:19j].reshape(2, -1)
    x, y = x, y * shape[0] / shape[1]
    wanted = np.concatenate(list(_movement(lens_basis(model, x, y), bend)))
    design = np.stack([np.concatenate(part) for part in motion_basis(model, x, y)], axis=1)
    step = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return np.linalg.inv(to_unit) @ step_matrix(model, step) @ to_unit @ matrix


def _strongest(across: np.ndarray, down: np.ndarray, weight: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels with the steepest features, as two arrays of one shape (OpenCV looks up no single
    long row); of a small
    picture all."""
    height, width = weight.shape
    if weight.size <= 1.5 * _MOST:
        return tuple(np.mgrid[:height, :width])
    slope = (np.einsum('hwc,hwc->hw', across, across) + np.einsum('hwc,hwc->hw', down, down)) * weight
    chosen = np.sort(np.argpartition(slope.reshape(-1), -_MOST)[-_MOST:])
    return tuple(axis.reshape(_SIDE, _SIDE) for axis in np.divmod(chosen, width))


def _look_up(features: Features, total: np.ndarray, x: np.ndarray, y: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Features and weight under a transform, at pixels (R, C) of the first image."""
    (a, b, c), (d, e, f), (g, h, i) = np.linalg.inv(total).astype(np.float32)
    depth = g * x + h * y + i
    places = (a * x + b * y + c) / depth, (d * x + e * y + f) / depth
    return tuple(cv2.remap(array, *places, cv2.INTER_LINEAR) for array in features)
