"""Preservation of local contrast after a model of vision, of Y. Chen and R. S. Blum (QCB)."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.contrast_sensitivity import sensitivity_filter, stretch
from .common.per_source import PerSource
from .common.windows import window_means

MIN_SIZE = 16
RADIUS = 15  # of the Gaussians
Z = 1e-4  # masking threshold of the contrast
NOTHING = 1e-150  # changes no contrast, but two zeros have the quotient 1 and share alike


def chen_blum(fused: Tensor, first: Tensor, second: Tensor, constant: str = 'zero') -> PerSource:
    r"""How much of the local contrast of the sources the fused image keeps, as the eye sees it.

    .. math::
        Q_{CB} = \overline{\frac{C_A^2\, q_A + C_B^2\, q_B}{C_A^2 + C_B^2}}, \qquad q_X = \frac{\min(C_X, C_F)}{\max(C_X, C_F)}, \qquad
        C = \frac{c^3}{c^2 + 10^{-4}}, \qquad c = \left|\frac{G_2 * S * X}{G_4 * S * X} - 1\right|

    with Gaussians of 31x31 pixels, sigma 2 and 4, zeros beyond the border, and the sensitivity of a difference of
    Gaussians, :math:`S(r) = e^{-(r/15.387)^2} - 0.7622\,e^{-(r/1.3456)^2}`, r the frequency in periods per image,
    divided by 15. Each image is stretched to 0..255 first. Source: Y. Chen and R. S. Blum, Image Vis. Comput. 27, 1421
    (2009). In [0, 1]; higher is better. The programs of Liu, VIFB and MEFB agree; IVIF_ZOO scales the frequencies
    otherwise and does not compare.

    On a black background the filtered image is all but zero and its contrast the quotient of what rings over from
    elsewhere: there the score says little, and rounding moves it (1e-7 in total on a medical image, with every value in
    float64).

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 16x16 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        constant: What an image of one gray level becomes: ``'zero'``: an image without contrast; two of them agree (1),
            and where both sources are such they count alike. ``'nan'``: the result is NaN, as in the programs.

    Returns:
        ``total``: the published value; ``first`` and ``second``: the mean of :math:`q_A` and of :math:`q_B`. Each (N,)
        float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 16x16, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> chen_blum(image, image, image).total.item()
        1.0
    """
    images = check_images(min_size=MIN_SIZE, fused=fused, first=first, second=second)
    return map_images(lambda *chunk: _chen_blum(*chunk, constant), *images)


def _chen_blum(fused: Tensor, first: Tensor, second: Tensor, constant: str) -> PerSource:
    seen = sensitivity_filter([stretch(image, constant) for image in (fused, first, second)], _difference_of_gaussians)
    padded = [F.pad(image, (RADIUS,) * 4) for image in seen]
    sums = fused.new_zeros(3, len(fused))
    fine, coarse = (window_means(padded, ((0,), (1,), (2,)), _taps(sigma)) for sigma in (2, 4))
    for pairs in zip(fine, coarse):
        contrast_f, contrast_a, contrast_b = (_contrast(*blurs, constant) for blurs in zip(*pairs))
        kept_a, kept_b = (
            contrast.minimum(contrast_f).div_(contrast.maximum(contrast_f)) for contrast in (contrast_a, contrast_b)
        )
        square_a, square_b = contrast_a.mul_(contrast_a), contrast_b.mul_(contrast_b)
        share = square_a.div_(square_b.add_(square_a))
        for i, kept in enumerate((kept_a, kept_b, kept_b.lerp(kept_a, share))):
            sums[i] += kept.flatten(1).sum(1)
    return PerSource(*(sums / fused[0].numel()))


def _difference_of_gaussians(radius: Tensor) -> Tensor:
    square = radius.mul_(radius)
    return square.mul(-1 / (15 * 15.387) ** 2).exp_().sub_(square.mul_(-1 / (15 * 1.3456) ** 2).exp_(), alpha=0.7622)


def _taps(sigma: float) -> np.ndarray:
    """Gaussian that is cut off and not made to sum to one."""
    return np.exp(-np.square(np.arange(-RADIUS, RADIUS + 1)) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)


def _contrast(fine: Tensor, coarse: Tensor, constant: str) -> Tensor:
    """Masked contrast; overwrites its arguments."""
    contrast = fine.div_(coarse).sub_(1)
    if constant == 'zero':  # 0/0 in an image of zeros
        contrast.nan_to_num_(nan=0, posinf=0, neginf=0)
    square = torch.mul(contrast, contrast, out=coarse)
    contrast.abs_().mul_(square).div_(square.add_(Z))
    return contrast.add_(NOTHING) if constant == 'zero' else contrast
