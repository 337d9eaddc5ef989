"""Edge transfer from the sources to the fused image, after C. S. Xydeas and V. Petrovic (Qabf, QG)."""

import math
from typing import Tuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.masks import indicator
from .common.per_source import PerSource
from .common.sobel import accumulator, magnitude, pixel_sums, sigmoids, sobel_strips, weighted_means

MIN_SIZE = 3
HUGE = 1e20  # a slope whose angle is that of the vertical
NO_EDGE = 1e-5  # what QG puts in place of a zero derivative or strength


def qabf(fused: Tensor, first: Tensor, second: Tensor, data_range: float = 255.0) -> PerSource:
    r"""How much of the edges of the sources the fused image keeps, in the form that nearly all programs share.

    .. math::
        Q^{AB/F} = \frac{\sum_p Q_A g_A + Q_B g_B}{\sum_p g_A + g_B}, \qquad
        Q_X = \frac{0.9994}{1 + e^{-15 (G_X - 0.5)}} \cdot \frac{0.9879}{1 + e^{-22 (A_X - 0.8)}}

    with the Sobel strength g (zeros beyond the border) and angle :math:`\alpha = \arctan(s_y / s_x)` (:math:`\pi/2`
    where :math:`s_x = 0`), :math:`G_X = \min(g_X, g_F) / \max(g_X, g_F)`, but :math:`g_F` where both are equal, and
    :math:`A_X = 1 - |\alpha_X - \alpha_F| / (\pi/2)` without wrapping the angle.
    Source: C. S. Xydeas and V. Petrovic, Electron. Lett. 36, 308 (2000), in the form of R. Hong, 2007.
    In [0, 0.988]; higher is better; a fused image equal to both sources reaches about 0.975.

    The angle does not wrap, so that a transposed image has another value (a TNO image: 0.476 and 0.536). On whole gray
    levels all programs agree; on images in [0, 1] rounding decides where :math:`s_x = 0`, and values scatter by up to 2
    %.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 3x3 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        data_range: White level of the images that are rated; 1 divides them by 255 first, in which case equal strengths
            count as :math:`g_F \leq 5.7` instead of 1.

    Returns:
        ``first`` and ``second``: :math:`\sum Q_X g_X / \sum g_X`; ``total``: the published value. Each (N,) float64;
        NaN where a source (for ``total``: both) has no edge, that is constant zero, since the border counts as an edge.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 3x3, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(qabf(image, image, image).total.item(), 3)
        0.975
    """
    images = check_images(min_size=MIN_SIZE, keep_dtype=True, fused=fused, first=first, second=second)
    if data_range != 255:
        images = [image.double() / (255 / data_range) for image in images]
    return map_images(_qabf, *images)


def _qabf(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    weighted, weights = accumulator(2, fused), accumulator(2, fused)
    for strips in sobel_strips(fused, first, second):
        (g_f, angle_f), *sources = map(_strength_and_angle, strips)
        weighted += pixel_sums(*(_hong(g, angle, g_f, angle_f) for g, angle in sources))
        weights += pixel_sums(*(g for g, _ in sources))
    return PerSource(*weighted_means(weighted.mul_(0.9994 * 0.9879), weights))


def _strength_and_angle(strip: Tuple[Tensor, Tensor]) -> Tuple[Tensor, Tensor]:
    across, down = strip
    strength, vertical = magnitude(across, down), indicator(torch.eq, across, 0)
    # the published kernels count brightness growing to the left; with no wrap-around the sign matters at the exact
    # verticals
    return strength, down.add_(vertical, alpha=HUGE).div_(vertical.sub_(across)).atan_()


def _hong(g: Tensor, angle: Tensor, g_f: Tensor, angle_f: Tensor) -> Tensor:
    """Strength times the product of the sigmoids."""
    equal = indicator(torch.eq, g, g_f)
    strength = g.minimum(g_f).div_(g.maximum(g_f).lerp_(equal.new_ones(()), equal))
    # difference of angles where the formula has 1 minus it over pi / 2
    below, above = sigmoids(strength, angle.sub(angle_f).abs_(), (15, -22 * 2 / math.pi), (0.5, 0.2 * math.pi / 2))
    return g.div(below.mul_(1 / above))


def gradient_preservation(fused: Tensor, first: Tensor, second: Tensor, symmetric: bool = True) -> PerSource:
    r"""Edge transfer, pixel by pixel (QG): every pixel counts alike, however weak its edges.

    .. math::
        Q_G = \overline{\frac{Q_A g_A + Q_B g_B}{g_A + g_B}}, \qquad
        Q_X = \frac{1}{1 + e^{-10 (G_X - 0.5)}} \cdot \frac{1}{1 + e^{-20 (A_X - 0.75)}}

    with strength and angle of :func:`qabf`, but an angle that wraps,
    :math:`A_X = \left||\alpha_X - \alpha_F| - \pi/2\right| / (\pi/2)`, and :math:`10^{-5}` in place of strengths and
    horizontal derivatives that are zero. Source: C. S. Xydeas and V. Petrovic, Proc. SPIE 4051, 89 (2000), as in Z. Liu
    et al., IEEE Trans. Pattern Anal. Mach. Intell. 34, 94 (2012). In [0, 0.987]; higher is better. Other sigmoids and
    another mean than :func:`qabf`: the two do not compare.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 3x3 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        symmetric: Whether both sources are treated alike. The program replaces zeros of the fused strength only after
            it has rated the infrared image (here the second source), which changes the value by about :math:`10^{-9}`.

    Returns:
        ``first`` and ``second``: the mean of :math:`Q_X`; ``total``: the published value. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 3x3, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(gradient_preservation(image, image, image).total.item(), 3)
        0.987
    """
    images = check_images(min_size=MIN_SIZE, keep_dtype=True, fused=fused, first=first, second=second)
    return map_images(lambda *chunk: _gradient_preservation(*chunk, symmetric), *images)


def _gradient_preservation(fused: Tensor, first: Tensor, second: Tensor, symmetric: bool) -> PerSource:
    sums = accumulator(3, fused)
    for strips in sobel_strips(fused, first, second):
        strengths, angles = zip(*((magnitude(*strip), _wrapped_angle(*strip)) for strip in strips))
        g_f, *sources = (g.add(indicator(torch.eq, g, 0), alpha=NO_EDGE) for g in strengths)
        ratios = [g.minimum(g_f).div_(g.maximum(g_f)) for g in sources]
        if not symmetric:
            ratios[1].masked_fill_((strengths[0] == 0) & (strengths[2] > 0), 0)
        q_a, q_b = (_liu(ratio, angle, angles[0]) for ratio, angle in zip(ratios, angles[1:]))
        blend = q_b.lerp(q_a, sources[0] / (sources[0] + sources[1]))
        sums += pixel_sums(q_a, q_b, blend)
    return PerSource(*(sums / fused[0].numel()))


def _wrapped_angle(across: Tensor, down: Tensor) -> Tensor:
    return down.div_(across.add(indicator(torch.eq, across, 0), alpha=NO_EDGE)).atan_()


def _liu(ratio: Tensor, angle: Tensor, angle_f: Tensor) -> Tensor:
    direction = angle.sub_(angle_f).abs_().sub_(math.pi / 2).abs_()
    below, above = sigmoids(ratio, direction, (10, 20 * 2 / math.pi), (0.5, 0.75 * math.pi / 2))
    return below.reciprocal_().mul_(above)
