"""Edges kept, lost and invented by a fusion, after V. Petrovic and C. Xydeas with the change of B. K. Shreyamsha Kumar
(Qabf_P, Labf, Nabf).
"""

import math
from typing import NamedTuple, Tuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.masks import indicator
from .common.per_source import PerSource
from .common.sobel import accumulator, magnitude, pixel_sums, sigmoids, sobel_strips, weighted_means

MIN_SIZE = 3
THRESHOLD = 2.0  # strength from which an edge counts in full


class EdgeFate(NamedTuple):
    """What became of the edges of the sources.

    Attributes:
        kept: Qabf_P, the share that the fused image shows.
        lost: Labf, the share that is missing.
        invented: Nabf, artifacts: edges stronger than in either source.
    """

    kept: PerSource
    lost: PerSource
    invented: PerSource


def petrovic(
    fused: Tensor, first: Tensor, second: Tensor, data_range: float = 255.0, weak_weight: float = 0.001
) -> EdgeFate:
    r"""Divide the edges of the sources into kept, lost and invented ones.

    .. math::
        Q &= \frac{\sum_p Q_A w_A + Q_B w_B}{\sum_p w_A + w_B}, \qquad
        L = \frac{\sum_p r\,[(1 - Q_A) w_A + (1 - Q_B) w_B]}{\sum_p w_A + w_B}, \\
        N &= \frac{\sum_p (1 - r)\,[(1 - Q_A) w_A + (1 - Q_B) w_B]}{\sum_p w_A + w_B}, \qquad
        Q_X = \sqrt{\frac{0.9999}{1 + e^{-19 (G_X - 0.5)}} \cdot \frac{0.9995}{1 + e^{-22 (A_X - 0.5)}}}

    with :math:`r = 0` where the fused edge is stronger than both, else 1, so that Q + L + N = 1. The strength g comes
    from the Sobel operator divided by 8 (mirrored border), :math:`G_X = \min(g_X, g_F) / \max(g_X, g_F)`, 0 where
    either is zero; the angle wraps, :math:`A_X = \left||\alpha_X - \alpha_F| - \pi/2\right| / (\pi/2)`; the weight is
    :math:`w = g^{1.5}` from g = 2 on and 0.001 below. Sources: V. Petrovic and C. Xydeas, ICCV 2005, 1866; artifacts as
    in B. K. Shreyamsha Kumar, Signal Image Video Process. 7, 1125 (2013). In [0, 1]; Q: higher is better, L and N:
    lower is better. Not to be mixed up with :func:`qabf`, whose constants and border differ.

    A fused image that equals both sources has N = 0 and a small L: the sigmoids stay below 1, and pixels without any
    edge count as lost.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 3x3 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        data_range: White level of the images that are rated; 1 divides them by 255 first, in which case no edge reaches
            the threshold, all pixels weigh the same, and rounding noise in flat regions counts as an edge.
        weak_weight: Weight of edges below the threshold. The Python copies have 0, which changes N by up to a third
            where it is tiny, and yields NaN for sources without strong edges.

    Returns:
        Three results, each with ``first`` and ``second``, the same mean over the edges of one source, and ``total``,
        the published value. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 3x3, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> result = petrovic(image, image, 255 - image)
        >>> round((result.kept.total + result.lost.total + result.invented.total).item(), 12)
        1.0
    """
    images = check_images(min_size=MIN_SIZE, keep_dtype=True, fused=fused, first=first, second=second)
    if data_range != 255:
        images = [image.double() / (255 / data_range) for image in images]
    return map_images(lambda *chunk: _petrovic(*chunk, weak_weight), *images)


def misordered(fused: Tensor, first: Tensor, second: Tensor) -> EdgeFate:
    """:func:`petrovic` as the MATLAB programs of Tang call it since March 2023: the second source (infrared) is rated
    as a fusion of the others.

    Args:
        fused: As in :func:`petrovic`.
        first: The visible image.
        second: The infrared image.

    Returns:
        Of :func:`petrovic`; ``first`` belongs to the visible image, ``second`` to the fused one.

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> misordered(image, image, image).invented.total.item()
        0.0
    """
    fused, first, second = check_images(min_size=MIN_SIZE, fused=fused, first=first, second=second)
    return petrovic(second, first, fused)


def _petrovic(fused: Tensor, first: Tensor, second: Tensor, weak_weight: float) -> EdgeFate:
    kept, lost, invented, weights = (accumulator(2, fused) for _ in range(4))
    for strips in sobel_strips(fused, first, second, border='reflect', columns=True):
        (g_f, angle_f), *sources = map(_strength_and_angle, strips)
        too_strong = indicator(torch.gt, g_f, sources[0][0].maximum(sources[1][0]))
        w = [_weight(g, weak_weight) for g, _ in sources]
        kept_maps = [_quality(g, angle, g_f, angle_f, w_x) for (g, angle), w_x in zip(sources, w)]
        weights += pixel_sums(*w)
        kept += pixel_sums(*kept_maps)
        not_kept = [w_x.sub_(kept_x) for w_x, kept_x in zip(w, kept_maps)]
        new = [values * too_strong for values in not_kept]
        invented += pixel_sums(*new)
        lost += pixel_sums(*(values.sub_(new_x) for values, new_x in zip(not_kept, new)))
    return EdgeFate(*(PerSource(*weighted_means(part, weights)) for part in (kept, lost, invented)))


def _strength_and_angle(strip: Tuple[Tensor, Tensor]) -> Tuple[Tensor, Tensor]:
    across, down = (derivative.div_(8) for derivative in strip)
    strength = magnitude(across, down)
    return strength, across.div_(down.add_(indicator(torch.eq, strength, 0))).atan_()


def _weight(g: Tensor, weak_weight: float) -> Tensor:
    weak = indicator(torch.lt, g, THRESHOLD)
    return (g * g.sqrt()).lerp_(g.new_tensor(weak_weight), weak)


def _quality(g: Tensor, angle: Tensor, g_f: Tensor, angle_f: Tensor, weight: Tensor) -> Tensor:
    """Q times the weight."""
    largest = g.maximum(g_f)
    strength = g.minimum(g_f).div_(largest.add_(indicator(torch.eq, largest, 0)))
    direction = angle.sub_(angle_f).abs_().sub_(math.pi / 2).abs_()
    below, above = sigmoids(strength, direction, (19, 22 * 2 / math.pi), (0.5, 0.5 * math.pi / 2))
    return weight.div(below.mul_(1 / (0.9999 * 0.9995 * above)).sqrt_())
