"""Activity of the fused image relative to that of its sources, of Y. Zheng and others (QSF)."""

import math
from typing import Tuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.per_source import PerSource

MIN_SIZE = 2
ROWS = 32  # as in chunks.py; here strips overlap by one row
DIAGONAL = math.sqrt(0.5)  # weight of the two diagonal directions


def activity_ratio(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""Spatial frequency in four directions, compared with that of an ideal fusion.

    .. math::
        Q_{SF} = \frac{S_F - S_R}{S_R}, \qquad
        S^2 = \frac{1}{HW} \sum_p d_\rightarrow^2 + d_\downarrow^2 + \sqrt{\tfrac{1}{2}}\,(d_\searrow^2 + d_\swarrow^2)

    with the differences d of neighboring pixels; those of the reference R are the larger ones of the two sources, pixel
    by pixel. Source: Y. Zheng et al., Inf. Fusion 8, 177 (2007). In [-1, inf), mostly negative: below 0 detail was
    lost, above 0 noise or ringing was added. The optimum is 0, so that higher is better only below.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 2x2 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``first`` and ``second``: with the differences of one source as the reference; ``total``: the published value.
        Each (N,) float64; NaN for a reference without any difference.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 2x2, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(activity_ratio(image / 2, image, image).total.item(), 12)
        -0.5
    """
    return map_images(_activity_ratio, *check_images(min_size=MIN_SIZE, fused=fused, first=first, second=second))


def _activity_ratio(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    squares = torch.zeros(4, len(fused), dtype=torch.float64, device=fused.device)  # fused, first, second, reference
    height = fused.shape[-2]
    rows = height if fused.is_cuda else ROWS
    for start in range(0, height, rows):
        strips = [image[..., start : start + rows + 1, :] for image in (fused, first, second)]
        for differences in zip(*(_differences(strip, rows) for strip in strips)):
            weight, (d_f, d_a, d_b) = differences[0][0], (d.square_() for _, d in differences)
            for i, d in enumerate((d_f, d_a, d_b, d_a.maximum(d_b))):
                squares[i].add_(d.flatten(1).sum(1), alpha=weight)
    fused_activity, *references = squares.sqrt_()
    ratios = [(fused_activity - reference) / reference for reference in references]
    return PerSource(*(ratio.masked_fill_(ratio.isinf(), math.nan) for ratio in ratios))


def _differences(strip: Tensor, rows: int) -> Tuple[Tuple[float, Tensor], ...]:
    """Weighted differences of ``rows`` rows with their neighbors to the right and below; the last row has none
    below.
    """
    upper, lower = strip[..., :-1, :], strip[..., 1:, :]
    own = strip[..., :rows, :]
    return (
        (1.0, own[..., 1:] - own[..., :-1]),
        (1.0, lower - upper),
        (DIAGONAL, lower[..., 1:] - upper[..., :-1]),
        (DIAGONAL, lower[..., :-1] - upper[..., 1:]),
    )
