"""Average gradient of the fused image (AG)."""
import torch
from torch import Tensor

from .checks import check_images


def average_gradient(fused: Tensor) -> Tensor:
    r"""Mean gradient magnitude: the sharpness of the fused image.

    .. math:: AG = \frac{1}{HW} \sum_{ij} \sqrt{\frac{(\partial_x F)^2_{ij} + (\partial_y F)^2_{ij}}{2}}

    with central differences inside and one-sided ones at the border. The mean runs over all HW pixels; programs that divide by (H-1)(W-1) come
    out 0.3 to 0.8 % higher. Source: G. Cui et al., Opt. Commun. 341, 199 (2015). Grey levels, in [0, 255]; higher is better, noise raises it too.

    Args:
        fused: (N, 1, H, W) grey levels in [0, 255], uint8 or floating, at least 2x2 pixels.

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, smaller than 2x2, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> average_gradient(torch.tensor([[[[0., 4.], [4., 8.]]]])).item()
        4.0
    """
    fused, = check_images(min_size=2, fused=fused)
    d_row, d_column = torch.gradient(fused, dim=(-2, -1))
    return ((d_row.square() + d_column.square()) / 2).sqrt().flatten(1).mean(1)
