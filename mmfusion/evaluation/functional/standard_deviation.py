"""Standard deviation of the fused image (SD)."""
from torch import Tensor

from .checks import check_images


def standard_deviation(fused: Tensor) -> Tensor:
    r"""Population standard deviation of the grey levels: the contrast of the fused image.

    .. math:: SD = \sqrt{\frac{1}{HW} \sum_{ij} (F_{ij} - \mu)^2}

    Source: Y.-J. Rao, Meas. Sci. Technol. 8, 355 (1997). Grey levels, in [0, 127.5]; higher is better.
    Tables with SD below 16 come from 8-bit saturating arithmetic and do not compare with this value.

    Args:
        fused: (N, 1, H, W) grey levels in [0, 255], uint8 or floating.

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> standard_deviation(torch.tensor([[[[0., 255.], [0., 255.]]]])).item()
        127.5
    """
    fused, = check_images(fused=fused)
    return fused.flatten(1).std(dim=1, correction=0)
