"""Orientation features: what two images of one scene share when their gray levels do not.

An edge keeps its direction when the modality changes, though neither its sign nor its strength. Each pixel holds the gradient's strength along four
directions, without sign, less their mean, smoothed and brought to unit length where there is structure (after Ye et al., "Fast and robust
matching for multimodal remote sensing image registration", IEEE TGRS 57(11), 2019, whose channels are the same but for the subtracted mean).
"""

from typing import NamedTuple

import cv2
import numpy as np

from .geometry import local_scale, scale_matrix, warp

ANGLES = np.arange(4) * (np.pi / 4)  # four, since OpenCV filters four channels at once
_DIRECTIONS = np.stack([np.cos(ANGLES), np.sin(ANGLES)]).astype(np.float32)
_SIGMA = 0.8
SMOOTHING = 2.0
FINE = 1.0  # smoothing for the last steps, when edges lie within a pixel or two of each other


class Picture(NamedTuple):
    """A gray image for registration.

    Attributes:
        image: (H, W) float32.
        mask: (H, W) uint8: 1 where the camera saw something, 0 on borders without content.
    """

    image: np.ndarray
    mask: np.ndarray

    @property
    def shape(self):
        """(height, width)."""
        return self.image.shape

    def resized(self, factor: float) -> 'Picture':
        """Reduced by a factor; itself where that is 1 or more."""
        if factor >= 1:
            return self
        size = tuple(max(1, round(length * factor)) for length in self.shape[::-1])
        return Picture(
            cv2.resize(self.image, size, interpolation=cv2.INTER_AREA),
            cv2.resize(self.mask, size, interpolation=cv2.INTER_NEAREST),
        )

    def warped(self, matrix: np.ndarray, shape) -> 'Picture':
        """On the pixels of another image (height, width)."""
        return Picture(warp(self.image, matrix, shape), warp(self.mask, matrix, shape, nearest=True))


class Features(NamedTuple):
    """Orientation features of an image.

    Attributes:
        values: (H, W, 4) float32, zero where ``weight`` is.
        weight: (H, W) float32, 1 where the features are known, 0 elsewhere.
    """

    values: np.ndarray
    weight: np.ndarray

    def centered(self, weight: np.ndarray) -> np.ndarray:
        """Values less their mean over ``weight``, times ``weight``."""
        total = max(float(weight.sum()), 1.0)
        mean = np.einsum('hwc,hw->c', self.values, weight) / total
        return (self.values - mean) * weight[..., None]


def content_mask(image: np.ndarray) -> np.ndarray:
    """Pixels that belong to the picture: all but constant regions of a corner's gray level that touch the border (warped or letterboxed images).

    Args:
        image: (H, W).

    Returns:
        (H, W) uint8, 1 inside.

    Examples:
        >>> picture = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
        >>> picture[:, :10] = 0
        >>> content_mask(picture)[5, [0, 9, 10, 63]].tolist()
        [0, 0, 1, 1]
    """
    height, width = image.shape
    mask = np.ones((height, width), np.uint8)
    for value in {float(image[row, column]) for row in (0, -1) for column in (0, -1)}:
        count, labels, stats, _ = cv2.connectedComponentsWithStats((image == value).astype(np.uint8), connectivity=4)
        border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        large = [label for label in border if label and stats[label, cv2.CC_STAT_AREA] >= max(height, width) // 2]
        if large:
            mask[np.isin(labels, large)] = 0
    return mask


def orientation_features(picture: Picture, sigma: float = _SIGMA, smoothing: float = SMOOTHING) -> Features:
    """Features of an image.

    Args:
        picture: Image and mask.
        sigma: Width of the Gaussian before the gradient, in pixels.
        smoothing: Width of the Gaussian over the channels, in pixels: how far edges may be apart and still be felt.
    """
    smooth = cv2.GaussianBlur(picture.image, (0, 0), sigma)
    gradient = np.stack([cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)], axis=-1)
    weight = cv2.erode(picture.mask, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1).astype(
        np.float32
    )
    channels = np.abs((gradient * (weight / 32)[..., None]) @ _DIRECTIONS)
    channels = np.maximum(channels - channels.mean(-1, keepdims=True), 0)
    channels = cv2.GaussianBlur(channels, (0, 0), smoothing)
    squares = np.einsum('hwc,hwc->hw', channels, channels)
    inside = squares[weight > 0]
    floor = (
        0.5 * float(np.sqrt(np.median(inside))) + 1e-3 if inside.size else 1.0
    )  # what is weaker than half the median counts as noise
    return Features(channels * (weight / np.sqrt(squares + floor**2))[..., None], weight)


class Aligned(NamedTuple):
    """Features of both images on the pixels of the reduced first one.

    Attributes:
        first: Of the first image.
        second: Of the second, warped before its features were taken, so that directions turn along.
        factor: Size of the reduced first image over its own.
    """

    first: Features
    second: Features
    factor: float

    @property
    def weight(self) -> np.ndarray:
        """(H, W) 1 where both are known."""
        return self.first.weight * self.second.weight


def align(first: Picture, second: Picture, matrix: np.ndarray, width: int, smoothing: float = SMOOTHING) -> Aligned:
    """Features of both images with the first reduced to a width.

    Args:
        first: First image.
        second: Second image; it is reduced first as far as the matrix would, so that nothing is skipped.
        matrix: From pixels of the second to pixels of the first.
        width: Width to reduce the first image to; never enlarged.
        smoothing: Of the features, in pixels of that width.
    """
    factor = min(1.0, width / first.shape[1])
    reduced = first.resized(factor)
    shrink = min(1.0, factor * local_scale(matrix))
    moved = scale_matrix(factor) @ matrix @ np.linalg.inv(scale_matrix(shrink))
    features = [
        orientation_features(part, smoothing=smoothing)
        for part in (reduced, second.resized(shrink).warped(moved, reduced.shape))
    ]
    return Aligned(*features, factor)


def similarity(aligned: Aligned) -> float:
    """Correlation of the features where both are known, each channel without its mean; in [-1, 1]."""
    weight = aligned.weight
    first, second = aligned.first.centered(weight), aligned.second.centered(weight)
    power = float(np.vdot(first, first)) * float(np.vdot(second, second))
    return float(np.vdot(first, second)) / np.sqrt(power) if power > 0 else 0.0
