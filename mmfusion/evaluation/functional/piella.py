"""Saliency-weighted structural similarity of G. Piella and H. Heijmans (QS, QW, QE)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.filters import gaussian_taps, separable_filter
from .common.masks import indicator
from .common.per_source import PerSource
from .common.windows import PAIR_TERMS, window_means

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
FLAT = 1e-8  # variances below are rounding noise of a flat window: one pixel off by one gray level gives 1e-6


class PiellaQuality(NamedTuple):
    """The three indices of one image.

    Attributes:
        quality: QS, every window counts alike.
        weighted: QW, windows count by their saliency.
        edge_dependent: QE, QW times QW of the edge images.
    """

    quality: PerSource
    weighted: PerSource
    edge_dependent: PerSource


def piella_quality(fused: Tensor, first: Tensor, second: Tensor) -> PiellaQuality:
    r"""Structural similarity with whichever source has more contrast, window by window.

    .. math::
        Q_S &= \overline{\lambda\, SSIM(F, A) + (1 - \lambda)\, SSIM(F, B)}, \qquad \lambda = \frac{\sigma_A^2}{\sigma_A^2 + \sigma_B^2} \\
        Q_W &= \sum_w c_w \left[\lambda\, SSIM(F, A) + (1 - \lambda)\, SSIM(F, B)\right]_w, \qquad c_w \propto \max(\sigma_A^2, \sigma_B^2) \\
        Q_E &= Q_W(F, A, B) \cdot Q_W(F', A', B')

    with the windows and constants of :func:`ssim` and, for QE, the gradient magnitudes F', A', B' of
    :func:`edge_weighted_quality`. Windows that are flat in both sources share :math:`\lambda = 1/2` and count with a
    variance of 1/2. Source: G. Piella and H. Heijmans, ICIP 2003, vol. 3, 173; the paper has 8x8 windows without
    constants, programs have those of SSIM. In [-1, 1], 1 only where the fused image equals the sources; higher is
    better. The reference program stops at an undefined variable in QE, so that no reference protocol has it; what MEFB
    prints as Qw is :func:`edge_weighted_quality`.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 11x11 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        Three results, each with ``total``, the published value, and ``first`` and ``second``, the same means of the
        similarity with one source alone (for QE the product of the two). Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than the window, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> result = piella_quality(image, image, torch.zeros_like(image))
        >>> round(result.quality.total.item(), 6), round(result.weighted.first.item(), 6)
        (1.0, 1.0)
    """
    return map_images(_piella, *check_images(min_size=WINDOW, fused=fused, first=first, second=second))


def edge_weighted_quality(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""QW of the gradient magnitudes, which MEFB prints as Qw.

    .. math:: F' = \sqrt{(F * p)^2 + (F * p^T)^2}, \qquad p = \begin{pmatrix} 1 & 0 & -1 \\ 1 & 0 & -1 \\ 1 & 0 & -1
        \end{pmatrix}

    (Prewitt), with zeros beyond the border, so that the frame of the image counts as an edge. Source, range, direction:
    :func:`piella_quality`.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 11x11 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``total``: the published value; ``first`` and ``second``: the similarity with one source alone. Each (N,)
        float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than the window, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(edge_weighted_quality(image, image, image).total.item(), 12)
        1.0
    """
    images = check_images(min_size=WINDOW, fused=fused, first=first, second=second)
    return map_images(lambda *chunk: _weighted_similarity(*map(_edges, chunk)).weighted, *images)


def _piella(fused: Tensor, first: Tensor, second: Tensor) -> PiellaQuality:
    plain = _weighted_similarity(fused, first, second)
    edges = _weighted_similarity(*map(_edges, (fused, first, second))).weighted
    return PiellaQuality(plain.quality, plain.weighted, PerSource(*(a * b for a, b in zip(plain.weighted, edges))))


def _edges(image: Tensor) -> Tensor:
    smooth, difference = np.ones(3), np.array([1.0, 0.0, -1.0])
    across, down = (
        separable_filter(image, smooth, difference, 'zero'),
        separable_filter(image, difference, smooth, 'zero'),
    )
    return (across * across).addcmul_(down, down).sqrt_()


class _Weighted(NamedTuple):
    quality: PerSource
    weighted: PerSource


def _weighted_similarity(fused: Tensor, first: Tensor, second: Tensor) -> _Weighted:
    """QS and QW of batches (N, 1, H, W); N = 1 on the CPU."""
    sums, windows = torch.zeros(7, len(fused), dtype=torch.float64, device=fused.device), 0
    one = fused.new_ones(())
    for mu_f, ff, *of_sources in window_means((fused, first, second), PAIR_TERMS, gaussian_taps(WINDOW, SIGMA)):
        windows += mu_f[0].numel()
        var_f = ff.sub_(mu_f * mu_f)
        similar, variances = [], []
        for mu, square, cross in (of_sources[:3], of_sources[3:]):
            product, squares = mu_f * mu, mu * mu
            variances.append(square.sub_(squares))
            squares.addcmul_(mu_f, mu_f).add_(C1)
            structure = cross.sub_(product).mul_(2).add_(C2).div_((var_f + square).add_(C2))
            similar.append(structure.mul_(product.mul_(2).add_(C1)).div_(squares))
        saliency = torch.maximum(*variances)
        flat = indicator(torch.lt, saliency, FLAT)
        both = (variances[0] + variances[1]).lerp_(one, flat)
        share = variances[0].lerp_(one / 2, flat).div_(both)
        saliency.lerp_(one / 2, flat)
        maps = (*similar, torch.lerp(similar[1], similar[0], share))
        weights = saliency.flatten(1)
        flats = [values.flatten(1) for values in maps]
        sums += torch.stack(
            [
                *(values.sum(1) for values in flats),
                *(torch.linalg.vecdot(values, weights) for values in flats),
                weights.sum(1),
            ]
        )
    *plain, weighted_a, weighted_b, weighted, weights = sums
    return _Weighted(
        PerSource(*(value / windows for value in plain)),
        PerSource(weighted_a / weights, weighted_b / weights, weighted / weights),
    )
