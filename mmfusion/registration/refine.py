"""Refinement: Gauss-Newton steps on the difference of the features, from coarse pictures to finer ones."""

from typing import Sequence

import cv2
import numpy as np

from .features import SMOOTHING, Picture, align
from .geometry import center, keeps_shape, motion_basis, scale_matrix, step_matrix, warp

_SOFTNESS = 1.0  # squared difference of features at which a pixel counts half
_RIDGE = 1e-5  # of the mean curvature: keeps directions at rest that the pictures say nothing about
_STILL = 0.02  # pixels


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
    radius = width / 2
    middle = center((height, width))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    basis = motion_basis(model, (x - np.float32(middle[0])) / radius, (y - np.float32(middle[1])) / radius)
    slopes = np.stack([across * dx[..., None] + down * dy[..., None] for dx, dy in basis]).reshape(len(basis), -1)
    to_unit = np.array([[1 / radius, 0, -middle[0] / radius], [0, 1 / radius, -middle[1] / radius], [0, 0, 1]])
    to_pixels = np.linalg.inv(to_unit)
    total = np.eye(3)
    for _ in range(steps):
        moved = warp(aligned.second.values, total, (height, width))
        known = warp(aligned.second.weight, total, (height, width)) * weight
        difference = moved - values
        trust = known / (1 + np.einsum('hwc,hwc->hw', difference, difference) / _SOFTNESS)
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
