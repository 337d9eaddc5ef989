"""Refinement: Gauss-Newton steps on the difference of the features, from coarse pictures to finer ones."""

from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from .features import SMOOTHING, Features, Picture, align
from .geometry import center, keeps_shape, motion_basis, scale_matrix, step_matrix, warp

_SOFTNESS = 1.0  # squared difference of features at which a pixel counts half
_RIDGE = 1e-5  # of the mean curvature: keeps directions at rest that the pictures say nothing about
_STILL = 0.02  # pixels
_SIDE = 256
_MOST = _SIDE * _SIDE  # pixels that a step looks at; of larger pictures those with the strongest slopes


def refine(
    first: Picture,
    second: Picture,
    matrix: np.ndarray,
    model: str,
    widths: Sequence[int],
    steps: int = 10,
    smoothing: float = SMOOTHING,
) -> np.ndarray:
    """Improve a transform.

    Args:
        first: First image.
        second: Second image.
        matrix: Start: from pixels of the second image to pixels of the first, right within a few pixels of the first width.
        model: One of :data:`~mmfusion.registration.geometry.MODELS`; the steps are of this kind.
        widths: Widths to which the first image is reduced, one after the other.
        steps: Most steps at each width.
        smoothing: Of the features: how far edges may be apart, in pixels of each width.
    """
    for width in widths:
        matrix = _refine_level(first, second, matrix, model, width, steps, smoothing)
    return matrix / matrix[2, 2]


def _refine_level(
    first: Picture, second: Picture, matrix: np.ndarray, model: str, width: int, steps: int, smoothing: float
) -> np.ndarray:
    aligned = align(first, second, matrix, width, smoothing)
    values, weight = aligned.first
    height, width = weight.shape
    across = cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8)
    chosen = _strongest(across, down, weight)
    if chosen is None:
        y, x = np.mgrid[:height, :width].astype(np.float32)
    else:
        y, x = (axis.astype(np.float32) for axis in chosen)
        values, weight, across, down = (array[chosen] for array in (values, weight, across, down))
    radius, middle = width / 2, center((height, width))
    basis = motion_basis(model, (x - np.float32(middle[0])) / radius, (y - np.float32(middle[1])) / radius)
    slopes = np.stack([across * dx[..., None] + down * dy[..., None] for dx, dy in basis]).reshape(len(basis), -1)
    to_unit = np.array([[1 / radius, 0, -middle[0] / radius], [0, 1 / radius, -middle[1] / radius], [0, 0, 1]])
    to_pixels = np.linalg.inv(to_unit)
    total = np.eye(3)
    for _ in range(steps):
        if chosen is None:
            moved, known = (warp(array, total, (height, width)) for array in aligned.second)
        else:
            moved, known = _look_up(aligned.second, total, x, y)
        difference = moved - values
        trust = known * weight / (1 + np.einsum('hwc,hwc->hw', difference, difference) / _SOFTNESS)
        weighted = slopes * np.repeat(trust.reshape(-1), values.shape[-1])
        curvature = (weighted @ slopes.T).astype(np.float64)
        ridge = _RIDGE * np.trace(curvature) / len(basis) + 1e-9
        step = np.linalg.solve(curvature + ridge * np.eye(len(basis)), weighted @ difference.reshape(-1))
        length = float(np.abs(step).max())
        if length > width / 4:  # it ran away; the start was better
            break
        total = to_pixels @ step_matrix(model, step / radius) @ to_unit @ total
        if length < _STILL:
            break
    scale = scale_matrix(aligned.factor)
    found = np.linalg.inv(scale) @ total @ scale @ matrix
    return found if keeps_shape(found, second.shape) else matrix


def _strongest(across: np.ndarray, down: np.ndarray, weight: np.ndarray) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Rows and columns, each (256, 256), of the pixels of a large picture with the steepest features; None for all of a small one."""
    if weight.size <= 1.5 * _MOST:
        return None
    slope = (np.einsum('hwc,hwc->hw', across, across) + np.einsum('hwc,hwc->hw', down, down)) * weight
    chosen = np.sort(np.argpartition(slope.reshape(-1), -_MOST)[-_MOST:])
    return tuple(axis.reshape(_SIDE, _SIDE) for axis in np.divmod(chosen, weight.shape[1]))


def _look_up(features: Features, total: np.ndarray, x: np.ndarray, y: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Features and weight under a transform, at pixels (R, C) of the first image."""
    (a, b, c), (d, e, f), (g, h, i) = np.linalg.inv(total).astype(np.float32)
    depth = g * x + h * y + i
    places = (a * x + b * y + c) / depth, (d * x + e * y + f) / depth
    return tuple(cv2.remap(array, *places, cv2.INTER_LINEAR) for array in features)
