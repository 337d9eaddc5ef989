"""Entropy of the fused image (EN)."""

from torch import Tensor

from .common.histograms import check_levels, grey_histogram, histogram_entropy


def entropy(fused: Tensor, offset: float = 0.0) -> Tensor:
    r"""Entropy of the gray levels: how much information the fused image carries by itself.

    .. math:: EN = -\sum_{l=0}^{255} p_l \log_2 p_l

    with :math:`p_l` the share of pixels of level l and :math:`0 \log 0 = 0`. Source: J. van Aardt et al., J. Appl.
    Remote Sens. 2, 023522 (2008). Bits per pixel, in [0, 8]; higher is better, though noise raises it too. A constant
    image has 0. Programs agree but for the rounding of the image before it, and for a small number that some add inside
    the logarithm.

    Args:
        fused: (N, 1, H, W) whole gray levels 0..255, uint8 or floating.
        offset: Added to each share inside the logarithm; 1e-7 lowers EN by up to 4e-5.

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
    (fused,) = check_levels(fused=fused)
    return histogram_entropy(grey_histogram(fused), offset=offset)
