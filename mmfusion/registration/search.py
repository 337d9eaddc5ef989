"""Coarse search: every turn and scale of a grid, all shifts at once by the Fourier transform."""

from typing import List, NamedTuple, Sequence

import numpy as np
from scipy import fft

from .features import Aligned, Features, Picture, edge_features
from .geometry import center, scale_matrix, similarity_matrix

WIDTH = 160
COARSE_WIDTH = 96
DEGREES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
SCALE_STEP = 0.04  # in ln(scale)
_LEAST_OVERLAP = 0.5  # of the smaller image; a score with less is lowered in proportion


class Candidate(NamedTuple):
    """A place that the coarse search found.

    Attributes:
        score: Correlation of the features, lowered where little overlaps.
        matrix: From pixels of the second image to pixels of the first.
    """

    score: float
    matrix: np.ndarray


def scale_grid(low: float, high: float) -> np.ndarray:
    """Scales from ``low`` to ``high`` in even ratios of about 4 %."""
    count = max(1, int(np.ceil(np.log(high / low) / SCALE_STEP - 1e-9)) + 1)
    return np.exp(np.linspace(np.log(low), np.log(high), count))


def search(
    first: Picture,
    second: Picture,
    scales: Sequence[float],
    degrees: Sequence[float] = DEGREES,
    max_shift: float = 0.25,
    width: int = WIDTH,
) -> List[Candidate]:
    """Best shift for every turn and scale, best first.

    Args:
        first: First image.
        second: Second image.
        scales: Of the second image once its width is that of the first.
        degrees: Turns.
        max_shift: Largest shift of the centers against each other, as a part of width and height.
        width: To which the first image is reduced; never enlarged.
    """
    small = first.resized(width / first.shape[1])
    factor = small.shape[1] / first.shape[1]
    height, width = small.shape
    # room for the largest shift, so that nothing comes in again from the other side
    size = [fft.next_fast_len(length + int(max_shift * length) + 1, real=True) for length in small.shape]
    rows, columns = (_offsets(length, whole, max_shift) for length, whole in zip(small.shape, size))
    features = edge_features(small)
    spectra = _spectra(features, size)
    found = []
    for scale in scales:
        shrink = min(1.0, scale * width / second.shape[1])
        reduced = second.resized(shrink)
        stretch = scale * width / reduced.shape[1]
        for angle in degrees:
            matrix = similarity_matrix(stretch, np.deg2rad(angle), center(reduced.shape), center(small.shape))
            moving = edge_features(reduced.warped(matrix, small.shape))
            area = float(moving.weight.sum())
            if not area:
                continue
            score = _correlate(spectra, moving, size, min(area, float(features.weight.sum())))[np.ix_(rows, columns)]
            row, column = np.unravel_index(score.argmax(), score.shape)
            shift = np.eye(3)
            shift[:2, 2] = _signed(columns[column], size[1]), _signed(rows[row], size[0])
            whole = (
                np.linalg.inv(scale_matrix(factor)) @ shift @ matrix @ scale_matrix(reduced.shape[1] / second.shape[1])
            )
            found.append(Candidate(float(score[row, column]), whole))
    return sorted(found, key=lambda candidate: -candidate.score)


def nearby_shift(aligned: Aligned, reach: int) -> np.ndarray:
    """Shift (x, y) of the second picture with the best score, in pixels of the aligned pictures.

    Args:
        aligned: Features of both images under a transform.
        reach: Largest shift to each side.
    """
    size = [fft.next_fast_len(length + reach + 1, real=True) for length in aligned.weight.shape]
    rows, columns = (np.r_[0 : reach + 1, whole - reach : whole] for whole in size)
    area = float(min(part.weight.sum() for part in (aligned.first, aligned.second)))
    score = _correlate(_spectra(aligned.first, size), aligned.second, size, max(area, 1.0))[np.ix_(rows, columns)]
    row, column = np.unravel_index(score.argmax(), score.shape)
    return np.array([_signed(columns[column], size[1]), _signed(rows[row], size[0])])


def _spectra(features: Features, size: Sequence[int]) -> List[np.ndarray]:
    """Of the first image: values, their power, and where they are known."""
    values = features.centered(features.weight)
    return [_spectrum(part, size) for part in (values, np.einsum('hwc,hwc->hw', values, values), features.weight)]


def _spectrum(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    return fft.rfft2(array, size, axes=(0, 1))


def _correlate(spectra: Sequence[np.ndarray], moving: Features, size: Sequence[int], area: float) -> np.ndarray:
    """Correlation for every shift, each normalized by what overlaps there."""
    values = moving.centered(moving.weight)
    shared, power, other_power, overlap = fft.irfft2(
        np.stack(
            [
                np.einsum('hwc,hwc->hw', spectra[0], _spectrum(values, size).conj()),
                spectra[1] * (weight := _spectrum(moving.weight, size).conj()),
                spectra[2] * _spectrum(np.einsum('hwc,hwc->hw', values, values), size).conj(),
                spectra[2] * weight,
            ]
        ),
        size,
        axes=(1, 2),
    )
    score = shared / np.sqrt(np.maximum(power, 1e-3) * np.maximum(other_power, 1e-3))
    return score * np.clip(overlap / (area * _LEAST_OVERLAP), 0, 1)


def _offsets(length: int, whole: int, max_shift: float) -> np.ndarray:
    reach = int(max_shift * length)
    return np.r_[0 : reach + 1, whole - reach : whole]


def _signed(offset: int, whole: int) -> int:
    return int(offset) if offset <= whole // 2 else int(offset) - whole
