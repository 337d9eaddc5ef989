"""Stretched gray levels and filters of contrast sensitivity, for the models of human vision."""

from typing import Callable, List, Sequence

import torch
from torch import Tensor


def stretch(image: Tensor, constant: str = 'zero') -> Tensor:
    """Stretch the gray levels of each image to 0..255 and round to whole ones, half up.

    Args:
        image: (N, 1, H, W) float64.
        constant: What becomes of an image of one gray level: ``'zero'``, or ``'nan'`` as in the programs, where only
            black stays zero.

    Returns:
        (N, 1, H, W) float64.
    """
    low, high = image.amin(dim=(1, 2, 3), keepdim=True), image.amax(dim=(1, 2, 3), keepdim=True)
    scale = high - low
    if constant == 'zero':
        scale = scale.masked_fill(scale == 0, 1)
    stretched = ((image - low) / scale).mul_(255).add_(0.5).floor_()
    return torch.where(high == 0, 0.0, stretched) if constant == 'nan' else stretched


def sensitivity_filter(images: Sequence[Tensor], response: Callable[[Tensor], Tensor]) -> List[Tensor]:
    """Filter images in the frequency domain, so that they continue periodically beyond the border.

    Args:
        images: Each (N, 1, H, W) float64, all of one shape.
        response: Function of the radial frequency in periods per image (square root of the sum of squares of those per
            height and per width); may change its argument.

    Returns:
        The filtered images.
    """
    height, width = images[0].shape[-2:]
    down = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64, device=images[0].device)
    across = torch.fft.rfftfreq(width, 1 / width, dtype=torch.float64, device=images[0].device)
    gain = response(
        (down[:, None] ** 2 + across**2).sqrt_()
    )  # half of the plane: the spectrum of a real image is symmetric
    return [torch.fft.irfft2(torch.fft.rfft2(image).mul_(gain), s=(height, width)) for image in images]
