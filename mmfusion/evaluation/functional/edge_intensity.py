"""Edge intensity of the fused image (EI)."""

import numpy as np
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.filters import BORDERS, separable_filter

SMOOTH, DIFFERENCE = np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0])


def edge_intensity(fused: Tensor, border: str = 'replicate') -> Tensor:
    r"""Mean magnitude of the Sobel gradient: how strong the edges of the fused image are.

    .. math:: EI = \frac{1}{HW} \sum_{ij} \sqrt{(S_x F)^2_{ij} + (S_y F)^2_{ij}}

    with the 3x3 Sobel kernels of weights 1, 2, 1. Source: B. Rajalingam and R. Priya, Int. J. Eng. Sci. Invention 2, 52
    (2018). In [0, 1141] (about 8 times a gradient in gray levels per pixel); higher is better, noise raises it too. A
    constant image has 0.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 2x2 pixels.
        border: How the filter sees beyond the image, any of :data:`filters.BORDERS` but ``'valid'``; ``'zero'`` draws
            an edge around every bright image.

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, smaller than 2x2, NaN or values outside [0, 255], or a border that does not exist.

    Examples:
        >>> import torch
        >>> edge_intensity(torch.tensor([[[[0., 3.], [0., 3.]]]])).item()
        12.0
    """
    if border not in BORDERS or border == 'valid':
        raise ValueError(f'border must be one of {[name for name in BORDERS if name != "valid"]}, got {border!r}')
    (fused,) = check_images(min_size=2, fused=fused)

    def intensity(image: Tensor) -> Tensor:
        d_column = separable_filter(image, SMOOTH, DIFFERENCE, border=border)
        d_row = separable_filter(image, DIFFERENCE, SMOOTH, border=border)
        return d_column.square_().add_(d_row.square_()).sqrt_().mean((1, 2, 3))

    return map_images(intensity, fused)
