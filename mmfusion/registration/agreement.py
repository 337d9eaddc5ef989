"""Agreement of the parts of a picture with a registration, each moved by itself; parts of a wrong one scatter."""

from typing import NamedTuple

import numpy as np
from scipy import fft

from .features import Aligned

WINDOW = 40
_STEP = 20
_REACH = 10  # pixels that a window may move
_CLOSE = 2.0  # pixels
_LEAST_COVER = 0.6  # of a window must be known in both images
_FAR = 5  # pixels from the best place at which another one counts as other


class WindowAgreement(NamedTuple):
    """Where the parts of the second image would rather lie.

    Attributes:
        share: Part of the windows, weighted by the square of their correlation, whose best place is at most 2 pixels (at the working width)
            from where the transform put them, in [0, 1]. By chance it is about 0.03.
        distance: Median distance of the best places, in pixels of the working width.
        contrast: Mean lead of the best place over the best one elsewhere.
        count: Number of windows.
    """

    share: float
    distance: float
    contrast: float
    count: int


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
        return WindowAgreement(0.0, float(np.hypot(_REACH, _REACH)), 0.0, 0)
    distance, value, lead = np.array(peaks).T
    trust = np.maximum(value, 0) ** 2 + 1e-12
    return WindowAgreement(
        float((trust * (distance <= _CLOSE)).sum() / trust.sum()),
        float(np.median(distance)),
        float(lead.mean()),
        len(peaks),
    )


def _best_place(aligned: Aligned, top: int, left: int):
    """Distance, correlation and lead of the best place of one window; None where too little is known."""
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
    return np.hypot(row - _REACH, column - _REACH), score[row, column], score[row, column] - elsewhere


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
