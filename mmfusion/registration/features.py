"""Edge features: what two images of one scene share when their gray levels do not.

An edge keeps its place and direction when the modality changes, though neither its sign nor its strength. Each pixel
holds the gradient's strength, compressed so that faint edges count beside strong ones, along twice its direction, where
both signs are one, and without direction; less the mean of the surroundings. The scalar product of two such features
without the mean is the square of that of two normalized gradients (Haber and Modersitzki, "Intensity gradient based
registration and fusion of multi-modal images", MICCAI 2006) but for the weight of the third channel.
"""

from typing import NamedTuple

import cv2
import numpy as np

from .geometry import local_scale, scale_matrix, warp

_SIGMA = 0.8
_STRENGTH = 1.4  # weight of the channel without direction
_AROUND = 27  # pixels: side of the square whose mean is taken away
SMOOTHING = 1.0
WIDE = 2.0  # smoothing for the steps that lead from far


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
    """Edge features of an image.

    Attributes:
        values: (H, W, 3) float32, zero where ``weight`` is, of mean square length 1 elsewhere.
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
    """Pixels that belong to the picture: all but constant regions of a corner's gray level that touch the border
    (warped or letterboxed images).

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


def edge_features(picture: Picture, smoothing: float = SMOOTHING) -> Features:
    """Features of an image.

    Args:
        picture: Image and mask.
        smoothing: Width of the Gaussian over the channels, in pixels: how far edges may be apart and still be felt.
    """
    smooth = cv2.GaussianBlur(picture.image, (0, 0), _SIGMA)
    right, down = (cv2.Scharr(smooth, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1)))
    weight = cv2.erode(picture.mask, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    weight = weight.astype(np.float32)
    strength = cv2.magnitude(right, down) * weight
    inside = strength[weight > 0]
    typical = float(np.median(inside)) if inside.size else 1.0
    compressed = strength / (strength + 2 * typical + 0.01)
    double = compressed / (strength * strength + 1e-6) * weight
    channels = np.stack(
        [(right * right - down * down) * double, 2 * right * down * double, _STRENGTH * compressed], axis=-1
    )
    channels = cv2.GaussianBlur(channels, (0, 0), smoothing)
    around, known = (cv2.blur(array, (_AROUND, _AROUND)) for array in (channels, weight))
    channels = (channels - around / np.maximum(known, 1e-6)[..., None]) * weight[..., None]
    power = float(np.vdot(channels, channels)) / max(float(weight.sum()), 1.0)
    return Features(channels / np.float32(np.sqrt(power) + 1e-3), weight)


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
        edge_features(part, smoothing=smoothing)
        for part in (reduced, second.resized(shrink).warped(moved, reduced.shape))
    ]
    return Aligned(*features, factor)


def similarity(aligned: Aligned) -> float:
    """Correlation of the features where both are known, each channel without its mean; in [-1, 1]."""
    weight = aligned.weight
    first, second = aligned.first.centered(weight), aligned.second.centered(weight)
    power = float(np.vdot(first, first)) * float(np.vdot(second, second))
    return float(np.vdot(first, second)) / np.sqrt(power) if power > 0 else 0.0
