"""Conversion of network outputs in [0, 1] to the 8-bit gray images that the metrics rate, by one rounding rule."""

import torch
from torch import Tensor

TIE = 1e-3  # gray levels by which the float32 arithmetic of a fuser may miss an exact .5 (measured: below 2e-4)


def to_uint8(image: Tensor) -> Tensor:
    """Quantize an image to 8 bits: clamp to [0, 1], scale by 255, round half up.

    Half up and not half to even (the rule of numpy and torch): an average of two 8-bit images hits .5 on half of its
    pixels, and rounding to even would empty every second histogram bin and lower the entropy by 0.2 bits.

    Args:
        image: Any shape; floating in nominal [0, 1], or uint8, which is returned as it is.

    Returns:
        uint8 tensor of the same shape.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: The image holds NaN or infinite values.

    Examples:
        >>> import torch
        >>> to_uint8(torch.tensor([0.5, 1.2, -1.0]))
        tensor([128, 255,   0], dtype=torch.uint8)
    """
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise TypeError(f'the image must be uint8 or floating in [0, 1], got {image.dtype}')
    # NaN comes through to the extremes, and they take a tenth of the time of looking at each value
    if image.numel() and not all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(image)):
        raise ValueError('the image holds NaN or infinite values')
    # float32 keeps x/255 close enough that uint8 -> [0, 1] -> uint8 is exact for all 256 levels
    return (image.float().clamp(0, 1) * 255 + (0.5 + TIE)).floor().to(torch.uint8)


def to_grey(image: Tensor) -> Tensor:
    """Make the 8-bit gray image that the metrics rate, by the full-range luma of ITU-R BT.601.

    Floating images are quantized first, so that rating a tensor equals rating the png written from it.
    Y = (299 R + 587 G + 114 B) / 1000 in integers, rounded half up.

    Args:
        image: (N, C, H, W) or (C, H, W), C = 1 or 3 (RGB), uint8 or floating in nominal [0, 1].

    Returns:
        uint8 tensor with C = 1.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: The number of channels is neither 1 nor 3, or the image holds NaN.

    Examples:
        >>> import torch
        >>> to_grey(torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)).item()
        76
    """
    if image.dim() < 3 or image.shape[-3] not in (1, 3):
        raise ValueError(
            f'the image must have shape (N, C, H, W) or (C, H, W) with 1 or 3 channels, got {tuple(image.shape)}'
        )
    image = to_uint8(image)
    if image.shape[-3] == 1:
        return image
    red, green, blue = image.unbind(-3)
    # exact in float32: sums stay below 2**24, and its numbers around 255 lie closer than 1/1000 (checked for all 2**24
    # colors)
    luma = red.to(torch.float32, copy=True).mul_(299).add_(green, alpha=587).add_(blue, alpha=114).add_(500)
    return luma.div_(1000).to(torch.uint8).unsqueeze(-3)
