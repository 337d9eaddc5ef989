"""Color images in metrics that make them gray in their own way, on the scale of gray levels."""

from typing import Dict

import torch
from torch import Tensor

from .checks import check_images

LUMA = (299.0, 587.0, 114.0)
# Y of linear sRGB under the white point D50, to which color profiles adapt
LUMINANCE_D50 = (0.22248840, 0.71690369, 0.06060791)


def luma(**images: Tensor) -> Dict[str, Tensor]:
    """Make batches of RGB gray by their luma (BT.601) rounded to whole levels; hand on what is not three-channel
    throughout.

    Args:
        images: Batches by name; changed where all are (N, 3, H, W).

    Returns:
        The batches by name, (N, 1, H, W) float64 where changed.

    Raises:
        TypeError, ValueError: As :func:`checks.check_images`, for batches of three channels.
    """
    return (
        {name: _weighted(image, LUMA).add_(500).div_(1000).floor_() for name, image in images.items()}
        if _all_rgb(images)
        else images
    )


def lab_lightness(**images: Tensor) -> Dict[str, Tensor]:
    """Make batches of sRGB gray by their CIE lightness L, stretched from [0, 100] to [0, 255]; hand on what is not
    three-channel throughout.

    Args:
        images: Batches by name; changed where all are (N, 3, H, W).

    Returns:
        The batches by name, (N, 1, H, W) float64 where changed.

    Raises:
        TypeError, ValueError: As :func:`checks.check_images`, for batches of three channels.
    """
    return {name: _lightness(image) for name, image in images.items()} if _all_rgb(images) else images


def _all_rgb(images: Dict[str, Tensor]) -> bool:
    if not all(isinstance(image, Tensor) and image.dim() == 4 and image.shape[1] == 3 for image in images.values()):
        return False
    check_images(**{name: image.flatten(0, 1).unsqueeze(1) for name, image in images.items()})
    return True


def _lightness(image: Tensor) -> Tensor:
    share = image.double() / 255
    linear = torch.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    luminance = _weighted(linear, LUMINANCE_D50)
    root = torch.where(luminance > (6 / 29) ** 3, luminance ** (1 / 3), luminance * (29 / 6) ** 2 / 3 + 4 / 29)
    return ((116 * root - 16) * 2.55).clamp_(0, 255)  # round-off at black and white


def _weighted(image: Tensor, weights: tuple) -> Tensor:
    red, green, blue = image.double().split(1, dim=1)
    return weights[0] * red + weights[1] * green + weights[2] * blue
