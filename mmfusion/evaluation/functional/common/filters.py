"""Window filters in float64, the heavy part of the windowed metrics: OpenCV on the CPU, convolutions on a GPU."""

from typing import Optional

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.moved import moved_names

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(('filter2d', 'gaussian_filter_valid'), 'mmfusion.evaluation.functional.common.former_filters'),
)

# how a filter sees beyond the border: not at all, zeros, the last pixel, mirrored with (..ba|ab..) or without
# (..cb|abc) the last pixel
BORDERS = {
    'valid': (cv2.BORDER_CONSTANT, None),
    'zero': (cv2.BORDER_CONSTANT, 'constant'),
    'replicate': (cv2.BORDER_REPLICATE, 'replicate'),
    'symmetric': (cv2.BORDER_REFLECT, 'symmetric'),
    'mirror': (cv2.BORDER_REFLECT_101, 'reflect'),
}


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


def separable_filter(
    image: Tensor, column_taps: np.ndarray, row_taps: Optional[np.ndarray] = None, border: str = 'valid'
) -> Tensor:
    """Correlate with the outer product of two odd 1-D kernels.

    Args:
        image: (N, C, H, W) float64, H and W at least as large as the kernel.
        column_taps: (kh,) taps that run down a column.
        row_taps: (kw,) taps that run along a row; None takes those of the columns.
        border: One of :data:`BORDERS`.

    Returns:
        (N, C, H, W) float64, or (N, C, H - kh + 1, W - kw + 1) for ``'valid'``.
    """
    row_taps = column_taps if row_taps is None else row_taps
    high, wide = len(column_taps) // 2, len(row_taps) // 2
    cv_border, torch_border = BORDERS[border]
    if not image.is_cuda:
        # torch's float64 convolution on the CPU is more than ten times slower than OpenCV's
        planes = [
            cv2.sepFilter2D(plane, cv2.CV_64F, row_taps, column_taps, borderType=cv_border)
            for plane in image.flatten(0, 1).numpy()
        ]
        return _stack(planes, image, *((high, wide) if border == 'valid' else (0, 0)))
    flat = _pad(image.flatten(0, 1).unsqueeze(1), high, wide, torch_border)
    for taps, shape in ((row_taps, (1, 1, 1, -1)), (column_taps, (1, 1, -1, 1))):
        flat = F.conv2d(flat, torch.as_tensor(taps).to(image).view(shape))
    return flat.view(*image.shape[:2], *flat.shape[-2:])


def box_sum(image: Tensor, size: int) -> Tensor:
    """Sums over square windows that lie inside the image; exact for whole numbers, as no weight is rounded.

    Args:
        image: (N, C, H, W) float64, H and W at least ``size``.
        size: Odd window width.

    Returns:
        (N, C, H - size + 1, W - size + 1) float64.
    """
    if image.is_cuda:
        return separable_filter(image, np.ones(size))
    # running sums: the cost does not depend on the size
    planes = [cv2.boxFilter(plane, cv2.CV_64F, (size, size), normalize=False) for plane in image.flatten(0, 1).numpy()]
    return _stack(planes, image, size // 2, size // 2)


def _stack(planes: list, image: Tensor, high: int, wide: int) -> Tensor:
    """Planes back to a batch, without ``high`` rows and ``wide`` columns at each border."""
    height, width = planes[0].shape
    if len(planes) == 1:  # a view, as the copy would take a fifth of the time of a filter
        return torch.from_numpy(planes[0][high : height - high, wide : width - wide])[None, None]
    stacked = torch.from_numpy(np.stack([plane[high : height - high, wide : width - wide] for plane in planes]))
    return stacked.view(*image.shape[:2], *stacked.shape[-2:])


def _pad(flat: Tensor, high: int, wide: int, mode: Optional[str]) -> Tensor:
    if mode is None:
        return flat
    if mode == 'symmetric':  # torch has no such mode: repeat the border pixel, then mirror about it
        rows = [flat[..., :high, :].flip(-2), flat, flat[..., flat.shape[-2] - high :, :].flip(-2)]
        flat = torch.cat(rows, dim=-2)
        return torch.cat([flat[..., :wide].flip(-1), flat, flat[..., flat.shape[-1] - wide :].flip(-1)], dim=-1)
    return F.pad(flat, (wide, wide, high, high), mode=mode)
