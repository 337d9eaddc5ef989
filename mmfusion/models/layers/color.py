"""Color handling: the channels that a fuser sees of its sources, and the color of its result.

A luminance fuser sees Y; the chroma is put back afterwards. A color fuser sees RGB. The caller always gets RGB when one
of the sources is RGB, and gray when both are gray. Everything is differentiable and runs on the device of its inputs.
"""

from typing import NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from mmfusion.utils.renamed import warn_renamed

# ITU-R BT.601 full range, with the rounded chroma factors that OpenCV uses for COLOR_RGB2YCrCb on float images.
LUMA = (0.299, 0.587, 0.114)
CR_FACTOR, CB_FACTOR = 0.713, 0.564
COLOR_SPACES = ('luminance', 'rgb')


def luminance(image: Tensor) -> Tensor:
    """BT.601 luma of an RGB batch, (N, 3, H, W) -> (N, 1, H, W); a gray batch is returned as it is."""
    if image.shape[1] == 1:
        return image
    red, green, blue = image.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def rgb_to_ycbcr(image: Tensor) -> Tensor:
    """RGB to full-range YCbCr, neutral chroma at 0.5.

    Equals ``cv2.cvtColor(..., COLOR_RGB2YCrCb)`` of a float image, with Cb before Cr.

    Args:
        image: (N, 3, H, W), RGB in [0, 1].

    Returns:
        Tensor: (N, 3, H, W), channels Y, Cb, Cr.

    Raises:
        ValueError: There are not 3 channels.

    Examples:
        >>> rgb_to_ycbcr(torch.full((1, 3, 1, 1), .25)).flatten().tolist()
        [0.25, 0.5, 0.5]
    """
    _check_rgb(image)
    y = luminance(image)
    return torch.cat([y, (image[:, 2:] - y) * CB_FACTOR + 0.5, (image[:, :1] - y) * CR_FACTOR + 0.5], dim=1)


def ycbcr_to_rgb(image: Tensor) -> Tensor:
    """Exact inverse of :func:`rgb_to_ycbcr`.

    OpenCV's way back uses rounded factors and misses the original by up to 4e-4; this one returns it to rounding error.
    Values are not clamped, so that gradients survive.

    Args:
        image: (N, 3, H, W), channels Y, Cb, Cr.

    Returns:
        Tensor: (N, 3, H, W), RGB.

    Raises:
        ValueError: There are not 3 channels.
    """
    _check_rgb(image)
    y, cb, cr = image[:, :1], image[:, 1:2] - 0.5, image[:, 2:] - 0.5
    red, blue = y + cr / CR_FACTOR, y + cb / CB_FACTOR
    green = y - (LUMA[0] / CR_FACTOR * cr + LUMA[2] / CB_FACTOR * cb) / LUMA[1]
    return torch.cat([red, green, blue], dim=1)


def blend_chroma(first: Tensor, second: Tensor) -> Tensor:
    """Chroma of two color sources: the average weighted with the distance from neutral, neutral where both are.

    Published with many fusion methods: ``C = (C1 |C1 - .5| + C2 |C2 - .5|) / (|C1 - .5| + |C2 - .5|)``. A source that
    is gray but stored as RGB has weight zero, so the other one's color comes through.

    Args:
        first: (N, 2, H, W), Cb and Cr of the first source.
        second: Same of the second source.
    """
    a, b = first - 0.5, second - 0.5
    total = a.abs() + b.abs()
    blended = (a * a.abs() + b * b.abs()) / torch.where(total > 0, total, torch.ones_like(total))
    return blended + 0.5


class ColorState(NamedTuple):
    """What :func:`restore_color` needs to know about the sources.

    Attributes:
        chroma: (N, 2, H, W) Cb and Cr to put back, or None when the fuser works in RGB or both sources are gray.
        channels: Channels of the picture that the caller expects, 3 or 1.
    """

    chroma: Optional[Tensor]
    channels: int


def split_color(
    first: Tensor, second: Tensor, color_space: str, channels: Sequence[int] = (1,)
) -> Tuple[Tensor, Tensor, ColorState]:
    """Bring the sources into the color space in which they are fused.

    Args:
        first: First source, (N, 1 or 3, H, W), RGB or gray.
        second: Second source, (N, 1 or 3, H, W).
        color_space: ``'luminance'`` (both become one channel) or ``'rgb'``.
        channels: Numbers of channels that a source may have in ``'rgb'``: gray pairs stay gray where 1 is among them.

    Returns:
        tuple: Both sources in that space, and the state that :func:`restore_color` needs.

    Raises:
        ValueError: A source has neither 1 nor 3 channels, or the color space is unknown.
    """
    if not isinstance(color_space, str):  # a fuser, as version 0.1.0 took it
        warn_renamed('split_color', 'fuser', 'color_space, channels')
        color_space, channels = color_space.color_space, color_space.channels
    for name, image in (('first', first), ('second', second)):
        if image.dim() != 4 or image.shape[1] not in (1, 3):
            raise ValueError(f'{name} source must be (N, 1 or 3, H, W), RGB or gray, got {tuple(image.shape)}')
    if color_space not in COLOR_SPACES:
        raise ValueError(f'color_space must be one of {COLOR_SPACES}, got {color_space!r}')
    wanted = max(first.shape[1], second.shape[1])
    if color_space == 'rgb':
        if wanted == 3 or 1 not in channels:
            first, second = first.expand(-1, 3, -1, -1), second.expand(-1, 3, -1, -1)
        return first, second, ColorState(None, wanted)
    chromas = []
    lumas = []
    for image in (first, second):
        if image.shape[1] == 3:
            ycbcr = rgb_to_ycbcr(image)
            chromas.append(ycbcr[:, 1:])
            image = ycbcr[:, :1]
        lumas.append(image)
    chroma = blend_chroma(*chromas) if len(chromas) == 2 else chromas[0] if chromas else None
    return lumas[0], lumas[1], ColorState(chroma, wanted)


def restore_color(fused: Tensor, state: ColorState) -> Tensor:
    """Turn a fuser's result into the picture that the caller expects.

    Args:
        fused: (N, 1 or 3, H, W), in the fuser's color space.
        state: From :func:`split_color` on the same batch.

    Returns:
        Tensor: (N, 3, H, W) RGB when a source was RGB, else (N, 1, H, W) gray. Nominal [0, 1], not clamped.
    """
    if state.chroma is not None:
        return ycbcr_to_rgb(torch.cat([fused, state.chroma.to(fused.dtype)], dim=1))
    if state.channels == 1:
        return luminance(fused)
    return fused.expand(-1, 3, -1, -1)


def _check_rgb(image: Tensor) -> None:
    if image.dim() != 4 or image.shape[1] != 3:
        raise ValueError(f'expected (N, 3, H, W), got {tuple(image.shape)}')
