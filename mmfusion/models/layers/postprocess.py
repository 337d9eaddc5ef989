"""Steps by which published programs change a fused picture before they store it. They change metrics, so they are
optional and off by default.
"""

from typing import Sequence, Tuple

import torch
from torch import Tensor

from .color import luminance

STEPS = ('gray', 'stretch', 'truncate')


def check_postprocess(steps: Sequence[str]) -> Tuple[str, ...]:
    """The steps as a tuple.

    Raises:
        ValueError: A step is none of :data:`STEPS`.
    """
    steps = (steps,) if isinstance(steps, str) else tuple(steps)
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        raise ValueError(f'postprocess takes steps out of {STEPS}, got {", ".join(map(repr, unknown))}')
    return steps


def postprocess(image: Tensor, steps: Sequence[str]) -> Tensor:
    """Apply steps in the given order.

    Args:
        image: Fused pictures (N, 1 or 3, H, W) with their color, in [0, 1].
        steps: Any of ``'gray'`` (the color is lost: luminance in every channel), ``'stretch'`` (each picture, all
            channels together, from its minimum and maximum to [0, 1]) and ``'truncate'`` (8 bits by cutting off, where
            writing a file rounds).

    Returns:
        Tensor: The same shape, in [0, 1].

    Raises:
        ValueError: A step is unknown.

    Examples:
        >>> postprocess(torch.tensor([0.2, 0.4]).view(1, 1, 1, 2), ['stretch']).flatten().tolist()
        [0.0, 1.0]
    """
    for step in check_postprocess(steps):
        if step == 'gray':
            image = luminance(image).expand_as(image)
        elif step == 'stretch':
            image = stretch(image)
        else:  # an 8-bit value that was divided by 255 may lie just below itself
            image = (image * 255 + 1e-3).floor().clamp(0, 255) / 255
    return image


def stretch(images: Tensor) -> Tensor:
    """Map each image (N, C, H, W) linearly to [0, 1]; an image of one value is left as it is.

    Examples:
        >>> stretch(torch.tensor([0.2, 0.4]).view(1, 1, 1, 2)).flatten().tolist()
        [0.0, 1.0]
    """
    low, high = torch.aminmax(images.flatten(1), dim=1)
    low, span = low.view(-1, 1, 1, 1), (high - low).view(-1, 1, 1, 1)
    return torch.where(span > 0, (images - low) / torch.where(span > 0, span, 1), images)
