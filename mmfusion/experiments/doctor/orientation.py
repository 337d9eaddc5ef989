"""Orientation features: an edge keeps its direction when the modality changes, though neither its sign nor its
strength.
"""

import cv2
import numpy as np

from mmfusion.registration.features import Features, Picture

_ANGLES = np.arange(4) * (np.pi / 4)  # four, since OpenCV filters four channels at once
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)]).astype(np.float32)
_SIGMA = 0.8


def orientation_features(picture: Picture, smoothing: float) -> Features:
    """Strength of the gradient along four directions, without sign, less their mean, smoothed and of unit length where
    there is structure.

    Source: Ye et al., "Fast and robust matching for multimodal remote sensing image registration", IEEE TGRS 57(11),
    2019, whose channels are the same but for the subtracted mean.

    Args:
        picture: Image and mask.
        smoothing: Width of the Gaussian over the channels, in pixels: how far edges may be apart and still be felt.
    """
    smooth = cv2.GaussianBlur(picture.image, (0, 0), _SIGMA)
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
