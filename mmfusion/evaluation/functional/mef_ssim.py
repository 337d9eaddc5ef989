"""Structural similarity of the fused image to the best structure in its sources (MEF-SSIM)."""

import math
from functools import partial
from typing import Tuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.filters import gaussian_taps
from .common.lightness import luma
from .common.masks import indicator
from .common.windows import box_sums, window_means
from .ms_ssim import EXPONENTS, halve

WINDOW, SIGMA = 11, 1.5
C = (0.03 * 255) ** 2
MAX_POWER = 10.0
FLOOR = 0.001  # added to norms, so that a flat patch has a direction, however weak
EPS = 2.0**-52

BOX_TERMS = ((1,), (2,), (1, 1), (2, 2), (1, 2))
GAUSSIAN_TERMS = ((0,), (1,), (2,), (0, 0), (1, 1), (2, 2), (1, 2), (0, 1), (0, 2))


def mef_ssim(fused: Tensor, first: Tensor, second: Tensor, scales: int = 1) -> Tensor:
    r"""Structural similarity with the patch that one would wish for: the structures of both sources, weighted by their
    strength.

    In each window of 11x11 pixels the sources' patches without their means, :math:`\tilde a` and :math:`\tilde b`, are
    combined to

    .. math::
        r = \max(|\tilde a|, |\tilde b|) \frac{s}{|s|}, \qquad s = \frac{w_a \tilde a / |\tilde a| + w_b \tilde b / |\tilde b|}{w_a + w_b}, \qquad
        w_x = (|\tilde x| / 11)^p, \qquad p = \min\left(10, \tan\frac{\pi |\tilde a + \tilde b|}{2 (|\tilde a| + |\tilde b|)}\right)

    .. math:: Q = \overline{\frac{2\sigma_{rF} + C}{\sigma_r^2 + \sigma_F^2 + C}}

    with Gaussian moments (sigma 1.5), :math:`C = (0.03 \cdot 255)^2`, and 0.001 added to each norm. Brightness does not
    count. Source: K. Ma, K. Zeng and Z. Wang, IEEE Trans. Image Process. 24, 3345 (2015). In [-1, 1]; higher is better.
    Windows that are flat in both sources ask for a flat fused image.

    With ``scales=3`` it is what fusion programs in MATLAB print as MS-SSIM: the values of three scales, each half the
    one before, to the powers 0.0448, 0.2856 and 0.3001, divided by their sum; a negative one counts as 0. Color becomes
    luma first, where all images have three channels.

    Args:
        fused: (N, 1, H, W) gray levels or (N, 3, H, W) RGB in [0, 255], uint8 or floating, at least 11x11 pixels at the
            last scale.
        first: First source, same shape.
        second: Second source, same shape.
        scales: Number of scales, 1 to 5.

    Returns:
        (N,) float64. There is no value per source: both make up one reference.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images too small, NaN or values outside [0, 255], or a number of scales that does not
            exist.

    Examples:
        >>> import torch
        >>> image = torch.arange(0., 400.).remainder(251).view(1, 1, 20, 20)
        >>> round(mef_ssim(image, image, image).item(), 6)
        1.0
    """
    images = check_images(min_size=min_size(scales), **luma(fused=fused, first=first, second=second))
    return map_images(partial(_scales, scales=scales), *images)


def min_size(scales: int) -> int:
    """Smallest height and width that leave one window at the last scale.

    Examples:
        >>> min_size(1), min_size(3)
        (11, 41)
    """
    if scales not in range(1, len(EXPONENTS) + 1):
        raise ValueError(f'scales must be a whole number from 1 to {len(EXPONENTS)}, got {scales!r}')
    return (WINDOW - 1) * 2 ** (scales - 1) + 1


def _scales(*images: Tensor, scales: int) -> Tensor:
    if scales == 1:
        return _similarity(images)
    value = 1.0
    for scale in range(scales):
        images = halve(images) if scale else images
        value = value * _similarity(images).clamp(min=0) ** (EXPONENTS[scale] / sum(EXPONENTS[:scales]))
    return value


def _similarity(images: Tuple[Tensor, ...]) -> Tensor:
    total, windows = 0.0, 0
    strips = zip(
        box_sums(images, BOX_TERMS, WINDOW), window_means(images, GAUSSIAN_TERMS, gaussian_taps(WINDOW, SIGMA))
    )
    for sums, (mean_f, mean_a, mean_b, ff, aa, bb, ab, fa, fb) in strips:
        from_a, from_b = _mixture(*sums)
        # second moments of the wished-for patch are those of the sources, mixed
        var_a, var_b, cov_ab = (
            aa.addcmul_(mean_a, mean_a, value=-1),
            bb.addcmul_(mean_b, mean_b, value=-1),
            ab.addcmul_(mean_a, mean_b, value=-1),
        )
        cross = (
            fa.addcmul_(mean_f, mean_a, value=-1).mul_(from_a).add_(fb.addcmul_(mean_f, mean_b, value=-1).mul_(from_b))
        )
        var_r = cov_ab.mul_(2).mul_(from_b).addcmul_(var_a, from_a).mul_(from_a).addcmul_(var_b, from_b.square_())
        energy = var_r.add_(ff).addcmul_(mean_f, mean_f, value=-1).add_(C)
        total = total + cross.mul_(2).add_(C).div_(energy).sum((1, 2, 3))
        windows += mean_f[0].numel()
    return total / windows


def _mixture(
    sum_a: Tensor, sum_b: Tensor, square_a: Tensor, square_b: Tensor, product: Tensor
) -> Tuple[Tensor, Tensor]:
    """Factors of both sources' patches in the wished-for patch, from the plain sums over each window."""
    n = WINDOW**2
    # exact for whole gray levels, so that a flat window has the norm 0
    energy_a, energy_b, both = (
        (square * n).addcmul_(x, y, value=-1).div_(n)
        for square, x, y in ((square_a, sum_a, sum_a), (square_b, sum_b, sum_b), (product, sum_a, sum_b))
    )
    norm_a, norm_b = energy_a.clamp_(min=0).sqrt(), energy_b.clamp_(min=0).sqrt()
    norm_sum = torch.add(energy_a, both, alpha=2).add_(energy_b).clamp_(min=0).sqrt_()
    agreement = norm_sum.add_(EPS).div_(norm_a + norm_b + EPS).clamp_(0, 1 - EPS)
    power = agreement.mul_(math.pi / 2).tan_().clamp_(max=MAX_POWER)
    strength_a, strength_b = norm_a.add_(FLOOR), norm_b.add_(FLOOR)
    # the sum of the weights cancels with the norm below
    share_a, share_b = (
        (strength / WINDOW).log_().mul_(power).exp_().div_(strength) for strength in (strength_a, strength_b)
    )
    norm = (
        (both * 2)
        .mul_(share_b)
        .addcmul_(energy_a, share_a)
        .mul_(share_a)
        .addcmul_(energy_b, share_b * share_b)
        .clamp_(min=0)
        .sqrt_()
    )
    zero = indicator(torch.eq, norm, 0)
    scale = torch.maximum(strength_a, strength_b).lerp_(zero.new_zeros(()), zero).div_(norm.add_(zero))
    return share_a.mul_(scale), share_b.mul_(scale)
