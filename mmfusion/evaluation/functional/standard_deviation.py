"""Standard deviation of the fused image (SD)."""

from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images


def standard_deviation(fused: Tensor, saturate: bool = False) -> Tensor:
    r"""Population standard deviation of the gray levels: the contrast of the fused image.

    .. math:: SD = \sqrt{\frac{1}{HW} \sum_{ij} (F_{ij} - \mu)^2}

    Source: Y.-J. Rao, Meas. Sci. Technol. 8, 355 (1997). Gray levels, in [0, 127.5]; higher is better. A constant image
    has 0. Tables with SD below 16 come from 8-bit saturating arithmetic and do not compare with this value.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating.
        saturate: Compute as 8-bit integers do: differences rounded half up, below 0 cut to 0, squares above 255 cut
            to 255. In [0, 15.97].

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> standard_deviation(image).item()
        127.5
        >>> round(standard_deviation(image, saturate=True).item() ** 2, 9)
        127.5
    """
    (fused,) = check_images(fused=fused)
    return map_images(_saturated if saturate else _deviation, fused)


def _deviation(image: Tensor) -> Tensor:
    return image.flatten(1).std(dim=1, correction=0)


def _saturated(image: Tensor) -> Tensor:
    difference = (image - image.mean((1, 2, 3), keepdim=True)).add_(0.5).floor_().clamp_(min=0)
    return difference.square_().clamp_(max=255).mean((1, 2, 3)).sqrt()
