"""Agreement of two pictures about the places they show, in noise levels, so that one threshold holds for all scenes.

Orientation features are compared in twelve blocks, each moved by itself; for every turn and scale of a grid the
blocks' correlations are added up at the shifts that the transform gives them. What hundreds of thousands of wrong
places reach tells what a right one has to exceed. This says less than a registration, and takes a tenth of its time.
"""

from functools import lru_cache
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np
from scipy import fft

from mmfusion.registration.features import Picture, content_mask

from .orientation import orientation_features

_FINE = 1.0  # smoothing of the features, pixels: only edges that lie on each other shall agree
_COARSE = 6.0  # what is wider than this says little about the place
_ROWS, _COLUMNS = 3, 4
_REACH = 44  # pixels of the working picture that a block may move
_SHIFT = 20  # of these, the shift of the whole picture
_SCALES = np.exp(np.arange(-6, 7) * 0.02)
_ANGLES = np.deg2rad(np.arange(-6, 7))
AT_REST = 4.5  # mean movement of the corners, pixels of 256, up to which a pair counts as registered


class Match(NamedTuple):
    """How well a second picture lies on a first one.

    Attributes:
        rest: Agreement where the corners move by at most 4.5 pixels of 256, in standard deviations of what wrong places
            reach.
        best: Agreement at the best place.
        moved: Mean movement of the corners to the best place, pixels of the working picture.
        shift: (x, y) of the second picture's center to its best place, pixels of the working picture.
        scale: Of the best place.
        degrees: Turn of the best place.
    """

    rest: float
    best: float
    moved: float
    shift: Tuple[float, float]
    scale: float
    degrees: float


def place_features(gray: np.ndarray) -> np.ndarray:
    """Features of a picture: (H, W, 4) float32 of norm 1, or zero where it shows nothing.

    Args:
        gray: (H, W) float32, 0 to 255.
    """
    features = orientation_features(Picture(gray, content_mask(gray)), smoothing=_FINE)
    weight = features.weight[..., None]
    values = (features.values - cv2.GaussianBlur(features.values, (0, 0), _COARSE)) * weight
    values -= values.mean((0, 1)) * weight
    return values / max(float(np.linalg.norm(values)), 1e-6)


def match_features(first: np.ndarray, second: np.ndarray) -> Match:
    """Compare two pictures of one size by their features.

    Args:
        first: Result of :func:`place_features`.
        second: Likewise, of the same shape.
    """
    plan = _plan(*first.shape[:2])
    surfaces = _surfaces(first, second, plan.blocks)
    span = 2 * _SHIFT + 1
    total = np.empty((len(plan.offsets), span, span), np.float32)
    for place, offsets in zip(total, plan.offsets):
        place[:] = 0
        for surface, (x, y) in zip(surfaces, offsets):
            place += surface[y : y + span, x : x + span]
    noise = max(float(total.std()), 1e-9)
    index = int(total.argmax())
    turn, row, column = np.unravel_index(index, total.shape)
    scale, degrees = plan.transforms[turn]
    return Match(
        rest=float(total[plan.moved <= AT_REST].max()) / noise,
        best=float(total.flat[index]) / noise,
        moved=float(plan.moved.flat[index]),
        shift=(float(column - _SHIFT), float(row - _SHIFT)),
        scale=scale,
        degrees=degrees,
    )


class _Plan(NamedTuple):
    blocks: List[Tuple[int, int, int, int]]
    transforms: List[Tuple[float, float]]
    offsets: List[List[Tuple[int, int]]]
    moved: np.ndarray


@lru_cache(maxsize=16)
def _plan(height: int, width: int) -> _Plan:
    """What depends on the size alone: blocks, and for every turn and scale where they go and how far the corners
    move.
    """
    rows = np.linspace(0, height, _ROWS + 1).astype(int)
    columns = np.linspace(0, width, _COLUMNS + 1).astype(int)
    blocks = [(rows[i], rows[i + 1], columns[j], columns[j + 1]) for i in range(_ROWS) for j in range(_COLUMNS)]
    centers = np.array(
        [((left + right - width) / 2, (top + bottom - height) / 2) for top, bottom, left, right in blocks]
    )
    corners = np.array([(-width, -height), (width, -height), (width, height), (-width, height)]) / 2
    y, x = np.mgrid[-_SHIFT : _SHIFT + 1, -_SHIFT : _SHIFT + 1]
    transforms, offsets, moved = [], [], []
    for scale in _SCALES:
        for angle in _ANGLES:
            turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) - np.eye(2)
            steps = np.rint(centers @ turn.T).astype(int)
            if np.abs(steps).max() > _REACH - _SHIFT:
                continue
            transforms.append((float(scale), float(np.rad2deg(angle))))
            offsets.append([(_REACH - _SHIFT + dx, _REACH - _SHIFT + dy) for dx, dy in steps.tolist()])
            moved.append(np.mean([np.hypot(x + dx, y + dy) for dx, dy in corners @ turn.T], axis=0))
    return _Plan(blocks, transforms, offsets, np.stack(moved).astype(np.float32))


def _surfaces(first: np.ndarray, second: np.ndarray, blocks: List[Tuple[int, int, int, int]]) -> List[np.ndarray]:
    """Correlation of each block of the second picture with the first one, for shifts up to 44 pixels."""
    padded = np.pad(first, ((_REACH, _REACH), (_REACH, _REACH), (0, 0)))
    surfaces = []
    for top, bottom, left, right in blocks:
        part = second[top:bottom, left:right]
        around = padded[top : bottom + 2 * _REACH, left : right + 2 * _REACH]
        size = [fft.next_fast_len(length, real=True) for length in around.shape[:2]]
        spectra = (fft.rfft2(array, size, axes=(0, 1)) for array in (around, part))
        shared = np.einsum('hwc,hwc->hw', next(spectra), next(spectra).conj())
        surfaces.append(fft.irfft2(shared, size)[: 2 * _REACH + 1, : 2 * _REACH + 1])
    return surfaces
