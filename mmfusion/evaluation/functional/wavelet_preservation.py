"""Wavelet details of the sources in the fused image, of P. W. Wang and B. Liu (QM)."""

from typing import List, Tuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.per_source import PerSource

MIN_SIZE = 4
EXPONENTS = (2 / 3, 1 / 3)  # of the fine and the coarse level


def wavelet_preservation(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""How exactly the fused image repeats the wavelet coefficients of the sources, where these have detail.

    .. math::
        Q_M = \prod_{l=1}^{2} \left(\frac{\sum_p e_A w_A + e_B w_B}{\sum_p w_A + w_B}\right)^{\alpha_l}, \qquad
        e_X = \sum_{s \in \{H, V, D\}} e^{-|s_X - s_F|}, \qquad w_X = H_X^2 + V_X^2 + D_X^2

    over two levels of the orthonormal Haar transform, :math:`\alpha = (2/3, 1/3)`; an odd last row or column is left
    out. Source: P. W. Wang and B. Liu, ICSP 2008, 965. In [0, 3], 3 where the fused image equals both sources; higher
    is better. The exponential falls within one gray level, so that copied pixels count and others hardly do (the
    pixelwise maximum of a TNO crop 1.39, SeAFusion on it 0.48).

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 4x4 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``first`` and ``second``: the same with the terms of one source; ``total``: the published value. Each (N,)
        float64; NaN without any detail in the sources at one of the levels.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 4x4, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(wavelet_preservation(image, image, image).total.item(), 12)
        3.0
    """
    return map_images(_wavelet_preservation, *check_images(min_size=MIN_SIZE, fused=fused, first=first, second=second))


def _wavelet_preservation(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    product = torch.ones(3, len(fused), dtype=torch.float64, device=fused.device)
    lows = [fused, first, second]
    for exponent in EXPONENTS:
        lows, (bands_f, *sources) = zip(*map(_haar, lows))
        numerators, weights = [], []
        for bands in sources:
            weight = sum(band * band for band in bands)
            equality = sum(band.sub(band_f).abs_().neg_().exp_() for band, band_f in zip(bands, bands_f))
            numerators.append(equality.mul_(weight).flatten(1).sum(1))
            weights.append(weight.flatten(1).sum(1))
        numerators.append(numerators[0] + numerators[1])
        weights.append(weights[0] + weights[1])
        product *= (torch.stack(numerators) / torch.stack(weights)) ** exponent
    return PerSource(*product)


def _haar(image: Tensor) -> Tuple[Tensor, List[Tensor]]:
    """One level: (N, 1, H, W) to the low band and the three detail bands, each (N, 1, H // 2, W // 2)."""
    height, width = (length // 2 * 2 for length in image.shape[-2:])
    even, odd = image[..., 0:height:2, :width], image[..., 1:height:2, :width]
    rows_sum, rows_difference = (even + odd).mul_(0.5), (even - odd).mul_(0.5)
    low, across = rows_sum[..., ::2] + rows_sum[..., 1::2], rows_sum[..., ::2] - rows_sum[..., 1::2]
    down, diagonal = (
        rows_difference[..., ::2] + rows_difference[..., 1::2],
        rows_difference[..., ::2] - rows_difference[..., 1::2],
    )
    return low, [across, down, diagonal]
