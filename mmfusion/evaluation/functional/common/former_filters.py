"""Filters that no metric uses any more; they work for one version more, under their place in ``filters``."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .filters import BORDERS, _pad, _stack, gaussian_taps, separable_filter


def filter2d(image: Tensor, kernel: np.ndarray, border: str = 'valid') -> Tensor:
    """Correlate with a 2-D kernel of odd size that does not separate.

    Args:
        image: (N, C, H, W) float64, H and W at least as large as the kernel.
        kernel: (kh, kw) float64.
        border: One of :data:`BORDERS`.

    Returns:
        (N, C, H, W) float64, or (N, C, H - kh + 1, W - kw + 1) for ``'valid'``.
    """
    high, wide = kernel.shape[0] // 2, kernel.shape[1] // 2
    cv_border, torch_border = BORDERS[border]
    if not image.is_cuda:
        planes = [
            cv2.filter2D(plane, cv2.CV_64F, kernel, borderType=cv_border) for plane in image.flatten(0, 1).numpy()
        ]
        return _stack(planes, image, *((high, wide) if border == 'valid' else (0, 0)))
    flat = F.conv2d(
        _pad(image.flatten(0, 1).unsqueeze(1), high, wide, torch_border), torch.as_tensor(kernel).to(image)[None, None]
    )
    return flat.view(*image.shape[:2], *flat.shape[-2:])


def gaussian_filter_valid(image: Tensor, size: int, sigma: float) -> Tensor:
    """Smooth with a separable Gaussian window, only where the whole window lies inside the image.

    Args:
        image: (N, C, H, W) float64, H and W at least ``size``.
        size: Odd window width.
        sigma: Standard deviation in pixels.

    Returns:
        (N, C, H - size + 1, W - size + 1) float64.
    """
    return separable_filter(image, gaussian_taps(size, sigma))
