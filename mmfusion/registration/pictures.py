"""Check patterns: squares of the first and of the second image in turn, so that edges must run on across the
squares.
"""

import cv2
import numpy as np

from .geometry import fitting_matrix, valid_region, warp
from .registering import Registration

SQUARES = 8


def check_pattern(first: np.ndarray, second: np.ndarray, squares: int = SQUARES) -> np.ndarray:
    """Squares of two images of one size in turn.

    Args:
        first: (H, W) or (H, W, 1 or 3) uint8, BGR.
        second: Likewise.
        squares: Number of squares along the shorter side.

    Returns:
        (H, W, 3) uint8 BGR.

    Examples:
        >>> pattern = check_pattern(np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8), squares=2)
        >>> pattern[[0, 0, 8], [0, 8, 8], 0].tolist()
        [0, 255, 0]
    """
    first, second = _color(first), _color(second)
    side = max(1, min(first.shape[:2]) // squares)
    rows, columns = (np.arange(length) // side for length in first.shape[:2])
    return np.where(((rows[:, None] + columns) % 2)[..., None] == 0, first, second)


def before_and_after(first: np.ndarray, second: np.ndarray, registration: Registration) -> np.ndarray:
    """Check patterns of a pair as it is (equal widths, centers on each other) and under a transform, side by side.

    Where the second image has nothing, the first is shown. The picture is made also of a refused registration, to see
    why.
    """
    first, second = _color(first), _color(second)
    rest = fitting_matrix(first.shape[:2], second.shape[:2])
    parts = []
    for matrix in (rest, registration.matrix):
        moved = warp(second, matrix, first.shape[:2])
        valid = valid_region(matrix, second.shape[:2], first.shape[:2])
        parts.append(check_pattern(first, np.where(valid[..., None], moved, first)))
    return np.concatenate([parts[0], np.full((first.shape[0], 8, 3), 255, np.uint8), parts[1]], axis=1)


def _color(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        image = cv2.normalize(image.astype(np.float32), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 or image.shape[2] == 1 else image
