"""Features of the sources found again in the fused image, by phase congruency, of J. Zhao and others (QP)."""

from typing import List, Tuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images, row_chunks
from .common.filters import gaussian_taps, separable_filter
from .common.last_result import keep_last_result
from .common.per_source import PerSource
from .common.phase_congruency import PhaseCongruency, phase_congruency

WINDOW, SIGMA = 11, 1.5
THRESHOLD = 0.1  # congruency from which a pixel of a source is a feature
C = 1e-4


def feature_correlation(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""Local correlation of the phase congruency, edge and corner maps of the fused image with those of its sources.

    .. math::
        Q_P = \prod_{f \in \{PC, M, m\}} \frac{1}{|S|} \sum_{p \in S} \max\left(c_A, c_B, c_S\right), \qquad
        c_X = \frac{\sigma_{XF} + C}{\sigma_X \sigma_F + C}

    in Gaussian windows of 11x11 pixels (sigma 1.5, zeros beyond the border), C = 1e-4. S are the pixels whose
    congruency exceeds 0.1 in either source; the maps of a source are set to zero outside its own such pixels, where its
    c is 0; :math:`c_S` belongs to the maps of whichever source has the larger congruency. Source: J. Zhao, R. Laganiere
    and Z. Liu, Int. J. Innov. Comput. Inf. Control 3, 1433 (2007). In [-1, 1]; higher is better.

    A fused image without any feature scores about 1, as its variance vanishes and C alone is left: the value says
    nothing about a flat or very smooth image.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 11x11 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``first`` and ``second``: the product over the features of one source alone; ``total``: the published value.
        Each (N,) float64; NaN without any feature in the source (for ``total``: in both).

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 11x11, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.zeros(1, 1, 32, 32)
        >>> image[..., 8:24, 12:20] = 200.
        >>> bool(feature_correlation(image, image, image).total > 0.9)
        True
    """
    return map_images(_feature_correlation, *check_images(min_size=WINDOW, fused=fused, first=first, second=second))


def _feature_correlation(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    maps_f, (maps_a, maps_b) = phase_congruency(fused.squeeze(1)), _of_sources(first, second)
    from_first = maps_a.congruency > maps_b.congruency
    is_a, is_b = (maps.congruency > THRESHOLD for maps in (maps_a, maps_b))
    masks = [is_a, is_b, is_a | is_b]
    product = torch.ones(3, len(fused), dtype=torch.float64, device=fused.device)
    for f, a, b in zip(maps_f, maps_a, maps_b):
        strongest = torch.where(from_first, a, b)
        product *= _mean_correlations(f, [values * mask for values, mask in zip((a, b, strongest), masks)], masks)
    return PerSource(*product)


@keep_last_result  # several fused images of one pair follow each other where methods are compared
def _of_sources(first: Tensor, second: Tensor) -> Tuple[PhaseCongruency, PhaseCongruency]:
    return phase_congruency(first.squeeze(1)), phase_congruency(second.squeeze(1))


def _mean_correlations(fused: Tensor, sources: List[Tensor], masks: List[Tensor]) -> Tensor:
    """(3, N): mean correlation with the first map, with the second, and the mean of the best of all three."""
    moments = [_smooth(fused), _smooth(fused * fused)]
    for source in sources:
        moments += [_smooth(source), _smooth(source * source), _smooth(source * fused)]
    sums = fused.new_zeros(3, len(fused))
    for mu_f, ff, *others, mask_a, mask_b, mask_s in row_chunks(*moments, *masks):
        var_f = ff - mu_f * mu_f
        best = None
        for i, mask in enumerate((mask_a, mask_b, mask_s)):
            mu, square, cross = others[3 * i : 3 * i + 3]
            deviation = mu.square().neg_().add_(square).mul_(var_f).abs_().sqrt_().add_(C)
            correlation = mu.mul(mu_f).neg_().add_(cross).add_(C).div_(deviation).mul_(mask)
            best = correlation if best is None else best.maximum(correlation)
            sums[i] += (correlation if i < 2 else best).flatten(1).sum(1)
    return sums / torch.stack([mask.flatten(1).sum(1) for mask in masks])


def _smooth(values: Tensor) -> Tensor:
    return separable_filter(values[:, None], gaussian_taps(WINDOW, SIGMA), border='zero').squeeze(1)
