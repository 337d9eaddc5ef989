"""Histograms of whole gray levels and their entropy: what the information metrics count."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from .checks import check_images

EXACT = 2**24  # OpenCV returns counts in float32, exact up to here


def check_levels(**images: Tensor) -> list:
    """Check the image batches of a metric that counts, see :func:`checks.check_images`, and return them in uint8."""
    return [image.to(torch.uint8) for image in check_images(integers=True, keep_dtype=True, **images)]


def grey_histogram(image: Tensor) -> Tensor:
    """Count the pixels of each gray level.

    Args:
        image: (N, 1, H, W) uint8.

    Returns:
        (N, 256) float64.
    """
    return _count([image.flatten(1)], (256,))


def joint_histogram(image: Tensor, other: Tensor) -> Tensor:
    """Count the pixels of each pair of gray levels.

    Args:
        image: (N, 1, H, W) uint8, the rows of the histogram.
        other: Same shape, its columns.

    Returns:
        (N, 256, 256) float64.
    """
    return _count([image.flatten(1), other.flatten(1)], (256, 256))


def histogram_entropy(counts: Tensor, base: float = 2.0, offset: float = 0.0) -> Tensor:
    """Shannon entropy of histograms.

    Args:
        counts: (..., bins) of which at least one is positive.
        base: Of the logarithm; 2 gives bits, e nats.
        offset: Added to each share inside the logarithm.

    Returns:
        (...,) float64.
    """
    p = counts / counts.sum(-1, keepdim=True)
    return -torch.xlogy(p, p + offset).sum(-1) / math.log(base)


def _count(levels: list, shape: tuple) -> Tensor:
    if not levels[0].is_cuda and levels[0].shape[1] <= EXACT:
        planes = zip(*(level.unsqueeze(1).numpy() for level in levels))
        axes = len(shape)
        counts = [
            cv2.calcHist(list(plane), list(range(axes)), None, list(shape), [0, 256] * axes).reshape(shape)
            for plane in planes
        ]
        return torch.from_numpy(np.stack(counts)).double()
    bins = 256 ** len(shape)
    index = torch.arange(len(levels[0]), device=levels[0].device)[:, None]
    for level in levels:
        index = index * 256 + level.long()
    return torch.bincount(index.flatten(), minlength=bins * len(index)).view(-1, *shape).double()
