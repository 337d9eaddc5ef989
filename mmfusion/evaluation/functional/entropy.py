"""Entropy of the fused image (EN)."""
import torch
from torch import Tensor

from .checks import check_images


def histogram_entropy(counts: Tensor) -> Tensor:
    """Shannon entropy in bits of histograms.

    Args:
        counts: (..., bins), counts of which at least one is positive.

    Returns:
        (...,) float64.
    """
    p = counts.double() / counts.sum(-1, keepdim=True)
    return -torch.xlogy(p, p).sum(-1) / torch.log(torch.tensor(2., dtype=torch.float64, device=counts.device))


def batch_histogram(values: Tensor, bins: int) -> Tensor:
    """Count integers per sample.

    Args:
        values: (N, P) int64 in [0, bins).
        bins: Number of bins.

    Returns:
        (N, bins) int64.
    """
    offset = torch.arange(len(values), device=values.device)[:, None] * bins
    return torch.bincount((values + offset).flatten(), minlength=bins * len(values)).view(len(values), bins)


def entropy(fused: Tensor) -> Tensor:
    r"""Entropy of the grey levels: how much information the fused image carries by itself.

    .. math:: EN = -\sum_{l=0}^{255} p_l \log_2 p_l

    with :math:`p_l` the share of pixels of level l and :math:`0 \log 0 = 0`. Source: J. van Aardt et al., J. Appl. Remote Sens. 2, 023522 (2008).
    Bits per pixel, in [0, 8]; higher is better, though noise raises it too.

    Args:
        fused: (N, 1, H, W) whole grey levels 0..255, uint8 or floating.

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, NaN, values outside [0, 255] or fractional.

    Examples:
        >>> import torch
        >>> entropy(torch.tensor([[[[0., 255.], [0., 255.]]]])).item()
        1.0
    """
    fused, = check_images(integers=True, fused=fused)
    return histogram_entropy(batch_histogram(fused.flatten(1).long(), 256))
