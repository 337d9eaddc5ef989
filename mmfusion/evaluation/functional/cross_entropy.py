"""Difference of the histograms of fused image and sources (CE)."""

import torch
from torch import Tensor

from .common.histograms import check_levels, grey_histogram
from .common.per_source import PerSource


def cross_entropy(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""How far the histogram of each source is from that of the fused image. It does not look at where the levels lie.

    .. math:: D(X, F) = \sum_{l: p_l > 0, f_l > 0} p_l \log_2 \frac{p_l}{f_l}, \qquad CE = \frac{D(A, F) + D(B, F)}{2}

    with the shares p of the source and f of the fused image. Source: D. M. Bulanon, T. F. Burks and V. Alchanatis,
    Biosyst. Eng. 103, 12 (2009). Bits; lower is better, 0 for equal histograms. Levels that only one image has are left
    out, as the full Kullback-Leibler divergence would be infinite: the value can be negative, and 0 where no level is
    common. Another program calls the binary cross-entropy of sigmoids of the gray levels CE, which has no meaning here.

    Args:
        fused: (N, 1, H, W) whole gray levels 0..255, uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN, values outside [0, 255] or fractional.

    Examples:
        >>> import torch
        >>> fused = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> result = cross_entropy(fused, fused.flip(-1), torch.zeros_like(fused))
        >>> result.first.item(), result.second.item()
        (0.0, 1.0)
    """
    images = check_levels(fused=fused, first=first, second=second)
    f, *sources = (counts / counts.sum(1, keepdim=True) for counts in map(grey_histogram, images))
    terms = [torch.where((p > 0) & (f > 0), p * (p / f).log2(), 0.0).sum(1) for p in sources]
    return PerSource.of(*terms, reduction='mean')
