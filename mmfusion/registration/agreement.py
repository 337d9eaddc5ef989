"""Agreement of the parts of a picture with a registration, each moved by itself; parts of a wrong one scatter."""

from typing import NamedTuple

import numpy as np
from scipy import fft

from .features import Aligned
from .geometry import Shape, center, corners

WINDOW = 40
_STEP = 20
_REACH = 10  # pixels that a window may move
_CLOSE = 2.0  # pixels
_INLIER = 3.0  # pixels
_LEAST_NOISE = 0.5  # pixels: places are whole numbers
_NO_IDEA = 40.0  # pixels
_LEAST_COVER = 0.6  # of a window must be known in both images
_FAR = 5  # pixels from the best place at which another one counts as other


class WindowAgreement(NamedTuple):
    """Where the parts of the second image would rather lie.

    Attributes:
        share: Part of the windows, weighted by the square of their correlation, whose best place is at most 2 pixels
            (at the working width) from where the transform put them, in [0, 1]. By chance it is about 0.03.
        distance: Median distance of the best places, in pixels of the working width.
        contrast: Mean lead of the best place over the best one elsewhere.
        count: Number of windows.
        doubt: Standard deviation of the corners of the picture under a similarity that the agreeing windows would
            determine by themselves, in pixels of the working width: large where they are few, scatter, or lie in one
            part of the picture.
    """

    share: float
    distance: float
    contrast: float
    count: int
    doubt: float


def window_agreement(aligned: Aligned) -> WindowAgreement:
    """Move windows of 40x40 pixels of the second image about, each by itself.

    Args:
        aligned: Features of both images under the transform, of a picture about 160 pixels wide.
    """
    height, width = aligned.weight.shape
    peaks = [
        peak
        for top in range(0, height - WINDOW + 1, _STEP)
        for left in range(0, width - WINDOW + 1, _STEP)
        if (peak := _best_place(aligned, top, left)) is not None
    ]
    if not peaks:
        return WindowAgreement(0.0, float(np.hypot(_REACH, _REACH)), 0.0, 0, _NO_IDEA)
    right, down, value, lead, x, y = np.array(peaks).T
    distance = np.hypot(right, down)
    trust = np.maximum(value, 0) ** 2 + 1e-12
    return WindowAgreement(
        float((trust * (distance <= _CLOSE)).sum() / trust.sum()),
        float(np.median(distance)),
        float(lead.mean()),
        len(peaks),
        _corner_doubt(np.c_[right, down], np.c_[x, y], distance <= _INLIER, (height, width)),
    )


def _corner_doubt(moves: np.ndarray, places: np.ndarray, agreeing: np.ndarray, shape: Shape) -> float:
    """See :attr:`WindowAgreement.doubt`.

    Args:
        moves: (n, 2) how far each window would rather lie off.
        places: (n, 2) centers of the windows.
        agreeing: (n,) bool.
        shape: (height, width) of the picture.
    """
    if agreeing.sum() < 4:
        return _NO_IDEA

    def design(points: np.ndarray) -> np.ndarray:
        x, y = (points - center(shape)).T / shape[1]
        one, zero = np.ones(len(x)), np.zeros(len(x))
        return np.concatenate([np.c_[one, zero, x, -y], np.c_[zero, one, y, x]])

    system, seen = design(places[agreeing]), moves[agreeing].T.reshape(-1)
    inverse = np.linalg.inv(system.T @ system + 1e-9 * np.eye(4))
    rest = seen - system @ (inverse @ (system.T @ seen))
    noise = max(_LEAST_NOISE**2, float(rest @ rest) / max(1, len(seen) - 4))
    at_corners = design(corners(shape))
    # windows overlap by half in both directions, so that about four say the same
    spread = 4 * noise * np.einsum('ij,jk,ik->i', at_corners, inverse, at_corners)
    return min(_NO_IDEA, float(np.sqrt(spread.sum() / 4)))


def _best_place(aligned: Aligned, top: int, left: int):
    """Movement (right, down) to the best place of one window, its correlation and lead, and the window's center; None
    where too little is known.
    """
    rows, columns = slice(top, top + WINDOW), slice(left, left + WINDOW)
    weight = aligned.second.weight[rows, columns]
    if weight.mean() < _LEAST_COVER or aligned.first.weight[rows, columns].mean() < _LEAST_COVER:
        return None
    part = _centered(aligned.second.values[rows, columns], weight)
    around, known = (_cut(array, top - _REACH, left - _REACH, WINDOW + 2 * _REACH) for array in aligned.first)
    around = _centered(around, known)
    size = (fft.next_fast_len(WINDOW + 2 * _REACH, real=True),) * 2
    spectrum = lambda array: fft.rfft2(array, size, axes=(0, 1))  # noqa: E731
    shared = np.einsum('hwc,hwc->hw', spectrum(around), spectrum(part).conj())
    power = spectrum(np.einsum('hwc,hwc->hw', around, around)) * spectrum(weight).conj()
    shared, power = fft.irfft2(np.stack([shared, power]), size, axes=(1, 2))[:, : 2 * _REACH + 1, : 2 * _REACH + 1]
    score = shared / np.sqrt(np.maximum(power, 1e-2) * float(np.vdot(part, part)) + 1e-6)
    row, column = np.unravel_index(score.argmax(), score.shape)
    y, x = np.ogrid[: 2 * _REACH + 1, : 2 * _REACH + 1]
    elsewhere = score[(y - row) ** 2 + (x - column) ** 2 > _FAR**2].max()
    lead = score[row, column] - elsewhere
    middle = (WINDOW - 1) / 2
    return column - _REACH, row - _REACH, score[row, column], lead, left + middle, top + middle


def _centered(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    mean = np.einsum('hwc,hw->c', values, weight) / max(float(weight.sum()), 1.0)
    return (values - mean) * weight[..., None]


def _cut(array: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """A square, zero beyond the array."""
    cut = np.zeros((size, size, *array.shape[2:]), array.dtype)
    low_y, high_y, low_x, high_x = (
        max(0, top),
        min(array.shape[0], top + size),
        max(0, left),
        min(array.shape[1], left + size),
    )
    cut[low_y - top : high_y - top, low_x - left : high_x - left] = array[low_y:high_y, low_x:high_x]
    return cut
