"""Visual information fidelity for fusion (VIFF)."""

from typing import NamedTuple

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.lightness import lab_lightness
from .common.per_source import PerSource
from .common.visual_information import MIN_SIZE, passages

NOISE = 0.005 * 255**2
WEIGHTS = (1 / 2.15, 0.0, 0.15 / 2.15, 1 / 2.15)  # of the four scales, from the finest
SMALL = 1e-7 * 2.302585092994046  # added per pixel; the paper's logarithm has base 10


def viff(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""Share of the sources' visual information that the fused image keeps, where each pixel is compared with one
    source.

    .. math:: VIFF = \sum_s p_s \frac{\sum_{ij} (kept_{s,ij} + \epsilon)}{\sum_{ij} (offered_{s,ij} + \epsilon)}

    with *kept* and *offered* as in :func:`vif` (:math:`\sigma_n^2 = 0.005 \cdot 255^2`) of the source with the smaller
    gain g at that pixel, :math:`\epsilon = 10^{-7}`, and the scales' weights p = (1, 0, 0.15, 1) / 2.15. Where both
    gains are equal, as in regions that are flat in one or both sources, the first source counts. Source: Y. Han et al.,
    Inf. Fusion 14, 127 (2013). About 0 to 1; higher is better.

    Not to be confused with the sum of two :func:`vif`, which several tables print under this name: the two rank methods
    differently. The author's program takes the lightness L of CIE Lab for color; so does this function where all images
    have three channels. Other programs rate every channel, or the luma.

    Args:
        fused: (N, 1, H, W) gray levels or (N, 3, H, W) RGB in [0, 255], uint8 or floating, at least 41x41 pixels.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``total``: VIFF; ``first`` and ``second``: the same ratio with that source alone at every pixel. Each (N,)
        float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 41x41, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(0., 2500.).remainder(251).view(1, 1, 50, 50)
        >>> round(viff(image, image, image).total.item(), 6)
        1.0
    """
    images = check_images(min_size=MIN_SIZE, **lab_lightness(fused=fused, first=first, second=second))
    return PerSource(*map_images(_fidelity, *images))


class _Fidelity(NamedTuple):
    first: Tensor
    second: Tensor
    total: Tensor


def _fidelity(fused: Tensor, first: Tensor, second: Tensor) -> _Fidelity:
    values = [0.0, 0.0, 0.0]
    for weight, scale in zip(WEIGHTS, passages(fused, first, second, NOISE)):
        if not weight:
            continue
        kept, offered = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        for a, b in scale:
            from_first = a.gain <= b.gain
            nearer = (torch.where(from_first, x, y) for x, y in ((a.kept, b.kept), (a.offered, b.offered)))
            for i, (kept_map, offered_map) in enumerate((a[1:], b[1:], nearer)):
                kept[i] = kept[i] + kept_map.add(SMALL).sum((1, 2, 3))
                offered[i] = offered[i] + offered_map.add(SMALL).sum((1, 2, 3))
        values = [value + weight * part / whole for value, part, whole in zip(values, kept, offered)]
    return _Fidelity(*values)
