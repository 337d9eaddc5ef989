"""Steadiness of a sequence of fused frames: the warping error, and the flicker of what stands still.

Warping error: W.-S. Lai, J.-B. Huang, O. Wang, E. Shechtman, E. Yumer, M.-H. Yang, "Learning Blind Video Temporal
Consistency", ECCV 2018. Occlusions: M. Ruder, A. Dosovitskiy, T. Brox, "Artistic Style Transfer for Videos", GCPR 2016,
as Lai et al. take them. The flow comes from the first source, so that a fused sequence is not judged by a flow of its
own; it is that of T. Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016 (OpenCV), where Lai et
al. take FlowNet2, so values compare within this program only.
"""

from typing import Tuple

import cv2
import numpy as np


def optical_flow(frame: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Where each pixel of a frame is in the following one, (H, W, 2) float32 in pixels (x, y).

    Args:
        frame: (H, W) uint8.
        following: (H, W) uint8.
    """
    frames = (np.ascontiguousarray(image) for image in (frame, following))
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*frames, None)


def warp_back(following: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The following frame (or flow) on the pixels of the frame before, bilinear; pixels from outside are NaN.

    Args:
        following: (H, W) or (H, W, C).
        flow: Result of :func:`optical_flow`, (H, W, 2).
    """
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        following.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderValue=[np.nan] * 4
    )


def visible_pixels(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Pixels of a frame that are seen in the following one too and lie on no motion boundary, (H, W) bool.

    Args:
        forward: Flow from the frame to the following one, (H, W, 2).
        backward: Flow the other way.
    """
    returned = warp_back(backward, forward)
    squared = (forward**2).sum(-1) + (returned**2).sum(-1)
    occluded = ~(((forward + returned) ** 2).sum(-1) <= 0.01 * squared + 0.5)  # NaN, from outside, counts as occluded
    steps = [np.gradient(forward[..., axis]) for axis in (0, 1)]
    boundary = sum(step**2 for pair in steps for step in pair) > 0.01 * (forward**2).sum(-1) + 0.002
    return ~(occluded | boundary)


def warping_error(frame: np.ndarray, following: np.ndarray, flow: np.ndarray, visible: np.ndarray) -> float:
    """Mean squared difference of a frame and the following one brought back to it, over the visible pixels; NaN without
    any.

    Args:
        frame: (H, W) or (H, W, C) uint8.
        following: Likewise.
        flow: Flow of the scene, (H, W, 2).
        visible: Result of :func:`visible_pixels`, (H, W) bool.

    Returns:
        Of values in [0, 1], summed over the channels; 0 is perfectly steady.

    Examples:
        >>> frame, still = np.full((16, 16), 51, np.uint8), np.zeros((16, 16, 2), np.float32)
        >>> round(warping_error(frame, frame + 51, still, np.ones((16, 16), bool)), 4)
        0.04
    """
    difference = (frame.astype(np.float32) - warp_back(following, flow)) / 255
    squared = difference**2 if difference.ndim == 2 else (difference**2).sum(-1)
    known = visible & np.isfinite(squared)
    return float(squared[known].mean()) if known.any() else float('nan')


def still_pixels(frame: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Where a source does not change beyond its noise, (H, W) bool: smoothed change of at most three times the median
    one.

    Args:
        frame: (H, W) uint8.
        following: (H, W) uint8.
    """
    change = np.abs(cv2.blur(frame.astype(np.float32), (7, 7)) - cv2.blur(following.astype(np.float32), (7, 7)))
    return change <= 3 * max(float(np.median(change)), 0.25)


def flicker(frame: np.ndarray, following: np.ndarray, still: np.ndarray) -> Tuple[float, int]:
    """Sum of the absolute changes of the still pixels in gray levels, and their number.

    Args:
        frame: (H, W) uint8.
        following: (H, W) uint8.
        still: (H, W) bool.
    """
    return float(np.abs(frame.astype(np.int16) - following)[still].sum()), int(still.sum())
