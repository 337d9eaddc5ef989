"""Squared error of the fused image against its sources (MSE, RMSE), and the peak signal-to-noise ratio made of it
(PSNR).
"""

from typing import Optional

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images, row_chunks
from .common.per_source import PerSource
from .correlation import inner_product


def mean_squared_error(fused: Tensor, first: Tensor, second: Tensor, white: float = 255.0) -> PerSource:
    r"""Mean squared difference of the fused image and each source.

    .. math:: MSE = \frac{1}{2} \left[ \overline{(F - A)^2} + \overline{(F - B)^2} \right]

    In [0, 65025] squared gray levels; lower is better, though the plain average of the sources has the lowest. Values
    below 1 come from images scaled to [0, 1]: they are lower by the factor 65025.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        white: The number that stands for white: 255, or 1 for images scaled to [0, 1].

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> mean_squared_error(image, image, torch.zeros_like(image)).second.item()
        32512.5
    """
    images = check_images(keep_dtype=True, fused=fused, first=first, second=second)
    scale = (white / 255) ** 2 / fused[0].numel()

    def error(*images: Tensor) -> PerSource:
        sums = [0.0, 0.0]
        for rows in row_chunks(*images):
            f, *sources = (row.double() for row in rows)
            differences = [f - source for source in sources]
            sums = [total + inner_product(difference, difference) for total, difference in zip(sums, differences)]
        return PerSource.of(*(total * scale for total in sums), reduction='mean')

    return map_images(error, *images)


def root_mean_squared_error(fused: Tensor, first: Tensor, second: Tensor, root: str = 'mean') -> PerSource:
    r"""Root of the mean squared difference, averaged over the sources.

    .. math:: RMSE = \frac{1}{2} \left[ \sqrt{\overline{(F - A)^2}} + \sqrt{\overline{(F - B)^2}} \right]

    Source: P. Jagalingam and A. V. Hegde, Aquat. Procedia 4, 133 (2015). In [0, 255] gray levels; lower is better.
    Values of 0.0x to 0.3 come from programs that take the root of the sum and then divide by the number of pixels: they
    shrink with the size of the image.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        root: ``'mean'``: root of the mean; ``'sum'``: root of the sum, divided by HW.

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255], or an option that does not exist.

    Examples:
        >>> import torch
        >>> fused = torch.full((1, 1, 2, 2), 10.)
        >>> root_mean_squared_error(fused, fused - 4, fused + 2).total.item()
        3.0
    """
    if root not in ('mean', 'sum'):
        raise ValueError(f"root must be 'mean' or 'sum', got {root!r}")
    error = mean_squared_error(fused, first, second)
    scale = 1.0 if root == 'mean' else fused[0].numel() ** -0.5
    return PerSource.of(error.first.sqrt() * scale, error.second.sqrt() * scale, reduction='mean')


def peak_signal_to_noise_ratio(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    white: float = 255.0,
    peak: Optional[float] = 255.0,
    error: str = 'mse',
) -> PerSource:
    r"""Squared peak over the mean squared error, in decibel.

    .. math:: PSNR = 10 \log_{10} \frac{255^2}{MSE}

    with the MSE averaged over the sources. Source: P. Jagalingam and A. V. Hegde, Aquat. Procedia 4, 133 (2015).
    At least 0; higher is better, though the plain average of the sources has the highest. Fusion gives 10 to 25 dB; 55
    to 70 dB come from a peak of 255 over an error on [0, 1] (48.13 dB too much) or over something else than the mean
    squared error.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        white: The number that stands for white in the error: 255, or 1 for images scaled to [0, 1].
        peak: The peak; None for the brightest pixel of the fused image.
        error: What the squared peak is divided by: ``'mse'``, or ``'root_sum'``: :func:`root_mean_squared_error` with
            ``root='sum'``.

    Returns:
        ``first`` and ``second``: PSNR against either source; ``total``: PSNR of the error averaged over both, so not
        the mean of the two. Each (N,) float64. NaN where the error is 0 (the fused image equals what it is compared
        with) or the brightest pixel is 0.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255], or an option that does not exist.

    Examples:
        >>> import torch
        >>> image = torch.full((1, 1, 2, 2), 100.)
        >>> round(peak_signal_to_noise_ratio(image, image + 25.5, image - 25.5).total.item(), 9)
        20.0
    """
    if error not in ('mse', 'root_sum'):
        raise ValueError(f"error must be 'mse' or 'root_sum', got {error!r}")
    if error == 'mse':
        errors = mean_squared_error(fused, first, second, white)
    else:
        errors = root_mean_squared_error(fused, first, second, root='sum')
    square = peak**2 if peak is not None else fused.double().amax((1, 2, 3)).square()
    return PerSource(*(_finite(10 * (square / value).log10()) for value in errors))


def _finite(value: Tensor) -> Tensor:
    return torch.where(value.isfinite(), value, torch.nan)
