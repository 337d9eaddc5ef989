"""Pairs of one scene in two modalities, warped by a known transform."""

import cv2
import numpy as np

from mmfusion.registration.geometry import center, similarity_matrix, warp


def scene(seed=0, shape=(240, 320)):
    """Boxes and blobs: (visible, infrared), the second with other contrasts of the same outlines, some missing."""
    rng = np.random.default_rng(seed)
    visible, infrared = (np.full(shape, value, np.float32) for value in (90, 60))
    for _ in range(28):
        x, y = rng.integers(0, shape[1]), rng.integers(0, shape[0])
        width, height = rng.integers(12, 60, 2)
        angle = int(rng.integers(0, 180))
        for image in (visible, infrared):
            if rng.uniform() < 0.85:
                box = cv2.boxPoints(((float(x), float(y)), (float(width), float(height)), angle)).astype(np.int32)
                cv2.fillConvexPoly(image, box, float(rng.uniform(0, 255)))
    noise = [rng.normal(0, 3, shape).astype(np.float32) for _ in range(2)]
    return tuple(
        np.clip(cv2.GaussianBlur(image, (0, 0), 1) + extra, 0, 255).astype(np.uint8)
        for image, extra in zip((visible, infrared), noise)
    )


def moved(image, scale=1.04, degrees=2.0, shift=(9.0, -6.0), shape=None):
    """The image warped, and the truth: from its pixels back to those of the scene."""
    shape = shape or image.shape
    matrix = similarity_matrix(scale, np.deg2rad(degrees), center(image.shape), center(shape) + shift)
    return warp(image, matrix, shape), np.linalg.inv(matrix)
