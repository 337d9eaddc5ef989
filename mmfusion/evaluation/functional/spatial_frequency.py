"""Spatial frequency of the fused image (SF)."""
from torch import Tensor

from .checks import check_images


def spatial_frequency(fused: Tensor) -> Tensor:
    r"""Root mean square of the differences between neighbouring pixels: the overall activity of the fused image.

    .. math:: SF = \sqrt{\overline{(F_{i,j+1} - F_{i,j})^2} + \overline{(F_{i+1,j} - F_{i,j})^2}}

    each mean over the differences that exist: H(W-1) horizontal and (H-1)W vertical ones. Some programs divide both by HW (0.1 to 0.2 % lower).
    Source: A. M. Eskicioglu and P. S. Fisher, IEEE Trans. Commun. 43, 2959 (1995). Grey levels, in [0, 361]; higher is better, noise raises it too.

    Args:
        fused: (N, 1, H, W) grey levels in [0, 255], uint8 or floating, at least 2x2 pixels.

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, smaller than 2x2, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> spatial_frequency(torch.tensor([[[[0., 3.], [4., 7.]]]])).item()
        5.0
    """
    fused, = check_images(min_size=2, fused=fused)
    row = fused.diff(dim=-1).square().flatten(1).mean(1)
    column = fused.diff(dim=-2).square().flatten(1).mean(1)
    return (row + column).sqrt()
