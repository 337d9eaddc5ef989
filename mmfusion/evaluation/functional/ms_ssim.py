"""Multi-scale structural similarity of the fused image to its sources (MS-SSIM)."""

from functools import partial
from typing import List

import torch.nn.functional as F
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.filters import gaussian_taps
from .common.per_source import BothSources, PerSource
from .common.windows import PAIR_TERMS, window_means
from .ssim import K1, K2, SIGMA, WINDOW, window_similarity

EXPONENTS = (
    0.0448,
    0.2856,
    0.3001,
    0.2363,
    0.1333,
)  # of the five scales, from the finest; as published, they add up to 1
MIN_SIZE = 161  # leaves one window at the last scale


def ms_ssim(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    data_range: float = 255.0,
    odd: str = 'replicate',
    reduction: str = 'mean',
) -> PerSource:
    r"""Structural similarity with each source at five scales.

    .. math:: MS\text{-}SSIM(F, X) = SSIM_5^{\beta_5} \prod_{s=1}^{4} \max(0, CS_s)^{\beta_s}

    with :math:`SSIM_s` and its contrast-and-structure factor :math:`CS_s` averaged over the Gaussian windows inside the
    image at scale s, as in :func:`ssim`; each scale halves the one before by means of 2x2 pixels. Source: Z. Wang et
    al., Asilomar Conf. Signals Syst. Comput., 1398 (2003). Each value lies in [0, 1], 1 only for an image equal to the
    source; higher is better. Negative averages count as 0.

    Fusion programs in MATLAB print another metric under this name: :func:`mef_ssim` at three scales. Python ones pass
    L = 1 for gray levels up to 255 and print the sum of both sources.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 161x161 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        data_range: L.
        odd: How an odd height or width is halved: ``'replicate'`` repeats the last row or column, as Wang's program
            does; ``'zero'`` surrounds the image with zeros on both sides, which shifts it by a pixel, as the package
            pytorch_msssim does.
        reduction: What ``total`` is of the two values, ``'mean'`` or ``'sum'``.

    Returns:
        ``first`` and ``second``: similarity with either source; ``total``: their mean or sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 161x161, NaN or values outside [0, 255], or an option that does
            not exist.

    Examples:
        >>> import torch
        >>> image = torch.arange(0., 170 * 170).remainder(251).view(1, 1, 170, 170)
        >>> round(ms_ssim(image, image, 255 - image).first.item(), 12)
        1.0
    """
    if odd not in ('replicate', 'zero'):
        raise ValueError(f"odd must be 'replicate' or 'zero', got {odd!r}")
    images = check_images(min_size=MIN_SIZE, fused=fused, first=first, second=second)
    terms = map_images(partial(_scales, c1=(K1 * data_range) ** 2, c2=(K2 * data_range) ** 2, odd=odd), *images)
    return PerSource.of(*terms, reduction)


def halve(images: List[Tensor], odd: str = 'replicate') -> List[Tensor]:
    """Means of 2x2 pixels.

    Args:
        images: (N, C, H, W) of equal shape.
        odd: As in :func:`ms_ssim`.

    Returns:
        For each image (N, C, ceil(H / 2), ceil(W / 2)).
    """
    high, wide = (length % 2 for length in images[0].shape[-2:])
    if odd == 'zero':
        images = [F.pad(image, (wide, wide, high, high)) for image in images]
    elif high or wide:
        images = [F.pad(image, (0, wide, 0, high), mode='replicate') for image in images]
    return [F.avg_pool2d(image, 2) for image in images]


def _scales(*images: Tensor, c1: float, c2: float, odd: str) -> BothSources:
    values = [1.0, 1.0]
    taps = gaussian_taps(WINDOW, SIGMA)
    for scale, exponent in enumerate(EXPONENTS):
        if scale:
            images = halve(images, odd)
        last = scale == len(EXPONENTS) - 1
        for i, terms in enumerate(window_similarity(window_means(images, PAIR_TERMS, taps), c1, c2)):
            values[i] = values[i] * (terms.similarity if last else terms.structure).clamp(min=0) ** exponent
    return BothSources(*values)
