"""Checks that every metric function makes on its images before it computes."""

import torch
from torch import Tensor


def check_images(integers: bool = False, min_size: int = 1, keep_dtype: bool = False, **images: Tensor) -> list:
    """Check gray image batches of one metric call and return them in float64, or as they are.

    Args:
        integers: Whether the metric builds a histogram and so needs whole gray levels.
        min_size: Smallest allowed height and width in pixels.
        keep_dtype: Return the batches as they are, for a metric that converts piece by piece.
        images: Batches (N, 1, H, W) by name, uint8 or floating with values in [0, 255]. All of equal shape and device.

    Returns:
        The batches as float64 tensors, or as they are, in the order given.

    Raises:
        TypeError: Not a tensor, or a dtype other than uint8 and the floating ones.
        ValueError: Wrong number of dimensions or channels, unequal shapes or devices, an image smaller than
            ``min_size``, NaN or infinite values, values outside [0, 255], or fractional gray levels where ``integers``
            is set.
    """
    shape, device, checked = None, None, []
    for name, image in images.items():
        if not isinstance(image, Tensor):
            raise TypeError(f'{name} must be a tensor of shape (N, 1, H, W), got {type(image).__name__}')
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise TypeError(f'{name} must be uint8 or floating with gray levels in [0, 255], got {image.dtype}')
        if image.dim() != 4 or image.shape[1] != 1:
            raise ValueError(
                f'{name} must have shape (N, 1, H, W), got {tuple(image.shape)}; convert color with to_grey'
            )
        if image.numel() == 0:
            raise ValueError(f'{name} is empty, its shape is {tuple(image.shape)}')
        shape, device = shape or image.shape, device or image.device
        if image.shape != shape:
            raise ValueError(
                f'{name} has shape {tuple(image.shape)}, the images before it {tuple(shape)}; '
                f'they must be registered and equal in size'
            )
        if image.device != device:
            raise ValueError(f'{name} is on {image.device}, the images before it on {device}')
        if min(image.shape[-2:]) < min_size:
            raise ValueError(
                f'{name} must be at least {min_size}x{min_size} pixels for this metric, got {tuple(image.shape[-2:])}'
            )
        given = image
        if image.dtype != torch.uint8:
            image = image.double()
            if not torch.isfinite(image).all():
                raise ValueError(f'{name} holds NaN or infinite values')
            low, high = image.aminmax()
            if low < 0 or high > 255:
                raise ValueError(
                    f'{name} must hold gray levels in [0, 255], got values from {low.item():g} to {high.item():g}'
                )
            if integers and (image != image.round()).any():
                raise ValueError(
                    f'{name} holds fractional gray levels, but this metric counts whole ones; round first, '
                    f'for example with to_uint8'
                )
        checked.append(given if keep_dtype else image.double())
    return checked
