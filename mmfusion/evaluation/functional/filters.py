"""Gaussian smoothing in float64, the heavy part of the windowed metrics."""
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_taps(size: int, sigma: float) -> np.ndarray:
    """Sampled Gaussian that sums to one.

    Args:
        size: Odd number of taps.
        sigma: Standard deviation in pixels.

    Returns:
        (size,) float64.
    """
    taps = np.exp(-np.square(np.arange(size) - size // 2) / (2 * sigma**2))
    return taps / taps.sum()


def gaussian_filter_valid(image: Tensor, size: int, sigma: float) -> Tensor:
    """Smooth with a separable Gaussian window, only where the whole window lies inside the image.

    Args:
        image: (N, C, H, W) float64, H and W at least ``size``.
        size: Odd window width.
        sigma: Standard deviation in pixels.

    Returns:
        (N, C, H - size + 1, W - size + 1) float64.
    """
    taps = gaussian_taps(size, sigma)
    if image.is_cuda:
        kernel = torch.from_numpy(taps).to(image)
        flat = image.flatten(0, 1).unsqueeze(1)
        flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
        return flat.view(*image.shape[:2], *flat.shape[-2:])
    # torch's float64 convolution on CPU is more than ten times slower than OpenCV's
    half = size // 2
    smooth = [cv2.sepFilter2D(plane, cv2.CV_64F, taps, taps)[half:-half, half:-half] for plane in image.flatten(0, 1).numpy()]
    smooth = torch.from_numpy(np.stack(smooth))
    return smooth.view(*image.shape[:2], *smooth.shape[-2:])
