"""Structural similarity of the fused image to its sources (SSIM)."""
import torch
from torch import Tensor

from .checks import check_images
from .filters import gaussian_filter_valid
from .per_source import PerSource

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255)**2, (0.03 * 255)**2


def ssim(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""Structural similarity with each source, with the window and constants of its inventors.

    .. math:: SSIM(F, X) = \overline{\frac{(2\mu_F\mu_X + C_1)(2\sigma_{FX} + C_2)}{(\mu_F^2 + \mu_X^2 + C_1)(\sigma_F^2 + \sigma_X^2 + C_2)}}

    with Gaussian windows of 11x11 pixels (sigma 1.5) that lie inside the image, population moments, :math:`C_1 = (0.01 L)^2`,
    :math:`C_2 = (0.03 L)^2`, L = 255. Source: Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004).
    In [-1, 1], 1 only for an image equal to the source; higher is better. Published fusion tables often use another L or the sum of both.

    Args:
        fused: (N, 1, H, W) grey levels in [0, 255], uint8 or floating, at least 11x11 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``first`` and ``second``: similarity with either source; ``total``: their mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than the window, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(ssim(image, image, image).total.item(), 12)
        1.0
    """
    fused, first, second = check_images(min_size=WINDOW, fused=fused, first=first, second=second)
    # all moments in one call: the fused image's own are shared by both sources
    moments = torch.cat([fused, first, second, fused * fused, first * first, second * second, fused * first, fused * second], dim=1)
    mu_f, mu_a, mu_b, ff, aa, bb, fa, fb = gaussian_filter_valid(moments, WINDOW, SIGMA).unbind(1)
    var_f = ff - mu_f * mu_f
    terms = []
    for mu, square, cross in ((mu_a, aa, fa), (mu_b, bb, fb)):
        product = mu_f * mu
        luminance = (2 * product + C1) / (mu_f * mu_f + mu * mu + C1)
        structure = (2 * (cross - product) + C2) / (var_f + square - mu * mu + C2)
        terms.append((luminance * structure).flatten(1).mean(1))
    return PerSource(*terms, total=(terms[0] + terms[1]) / 2)
