"""Fusers without parameters, for every comparison."""
from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers.color import blend_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from mmfusion.registry import MODELS

from .base import BaseFuser, FuserOutput


@MODELS.register_module()
class SourceFuser(BaseFuser):
    """Return one source unchanged: "visible only" and "infrared only" in tables.

    It works in RGB, so the source keeps its own colour and takes none from the other: a grey infrared image stays grey (three equal
    channels where the visible source is RGB), and an RGB source comes back bit by bit.

    Args:
        source: ``'first'`` or ``'second'``.

    Raises:
        ValueError: ``source`` is neither.

    Examples:
        >>> SourceFuser('second')(torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)).fused.mean().item()
        1.0
    """

    color_space = 'rgb'
    channels = (1, 3)

    def __init__(self, source: str = 'first') -> None:
        super().__init__()
        if source not in ('first', 'second'):
            raise ValueError(f"source must be 'first' or 'second', got {source!r}")
        self.source = source

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Pick the source."""
        return FuserOutput(first if self.source == 'first' else second, {})


@MODELS.register_module()
class AverageFuser(BaseFuser):
    """Weighted mean of both luminances.

    Args:
        weight: Share of the first source in [0, 1].

    Raises:
        ValueError: ``weight`` lies outside.
    """

    def __init__(self, weight: float = 0.5) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f'weight must lie in [0, 1], got {weight}')
        self.weight = weight

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Average."""
        return FuserOutput(torch.lerp(second, first, self.weight), {})


@MODELS.register_module()
class MaximumFuser(BaseFuser):
    """The brighter luminance at every pixel."""

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Take the maximum."""
        return FuserOutput(torch.maximum(first, second), {})


@MODELS.register_module()
class FalseColorFuser(BaseFuser):
    r"""The brighter luminance with the colors of the sources, tinted where the second source is the brighter one.

    .. math:: F = \max(Y_A, Y_B) + C + t \, \max(Y_B - Y_A, 0)

    with the chroma C that luminance fusers get back and a tint t in RGB. What is warm in an infrared image comes out in the color of skin by
    default, which detectors of people trained on color photographs answer to; a grey maximum loses where a bright pixel comes from. False color of
    this kind goes back to A. Toet and J. Walraven, Opt. Eng. 35, 650 (1996).

    Args:
        tint: Red, green and blue that are added for a difference of 1.

    Raises:
        ValueError: ``tint`` is not three numbers.

    Examples:
        >>> first, second = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5)
        >>> [round(value, 2) for value in FalseColorFuser(tint=(0.2, -0.4, 0))(first, second).fused[0, :, 0, 0].tolist()]
        [0.6, 0.3, 0.5]
    """

    color_space = 'rgb'
    channels = (3, )

    def __init__(self, tint: Sequence[float] = (0.24, -0.4, 0.0)) -> None:
        super().__init__()
        if len(tint) != 3:
            raise ValueError(f'tint must be what is added to red, green and blue, got {tint}')
        self.register_buffer('tint', torch.tensor(tint, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Take the maximum, and tint."""
        a, b = rgb_to_ycbcr(first), rgb_to_ycbcr(second)
        plain = ycbcr_to_rgb(torch.cat([torch.maximum(a[:, :1], b[:, :1]), blend_chroma(a[:, 1:], b[:, 1:])], dim=1))
        return FuserOutput(plain + self.tint.to(plain.dtype) * (b[:, :1] - a[:, :1]).clamp_min(0), {})


@MODELS.register_module()
class LaplacianPyramidFuser(BaseFuser):
    """Laplacian pyramid: at each level the detail of larger magnitude, of the coarsest level the mean.

    P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE Trans. Commun. 31, 532 (1983); the choice by magnitude
    follows A. Toet, Pattern Recognit. Lett. 9, 245 (1989). Any size works: odd sides are rounded up when halved.

    Args:
        levels: Levels of detail; fewer are used where the image would become smaller than 2 pixels.

    Raises:
        ValueError: ``levels`` is below 1.
    """

    def __init__(self, levels: int = 5) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f'levels must be at least 1, got {levels}')
        self.levels = levels

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse level by level."""
        (*details_a, base_a), (*details_b, base_b) = self.decompose(first), self.decompose(second)
        fused = (base_a + base_b) / 2
        for a, b in zip(reversed(details_a), reversed(details_b)):
            fused = _expand(fused, a.shape[-2:]) + torch.where(a.abs() >= b.abs(), a, b)
        return FuserOutput(fused, {})

    def decompose(self, image: Tensor) -> List[Tensor]:
        """Details from fine to coarse, then the base; expanding and adding them gives ``image`` (N, C, H, W) back."""
        pyramid = []
        for _ in range(self.levels):
            if min(image.shape[-2:]) < 4:
                break
            coarse = _reduce(image)
            pyramid.append(image - _expand(coarse, image.shape[-2:]))
            image = coarse
        return [*pyramid, image]


def _smooth(image: Tensor, scale: float = 1.0) -> Tensor:
    """Burt and Adelson's 5-tap filter in both directions, border pixels repeated."""
    taps = image.new_tensor([1, 4, 6, 4, 1]) / 16 * scale
    channels = image.shape[1]
    image = F.pad(image, (2, 2, 2, 2), mode='replicate')
    image = F.conv2d(image, taps.view(1, 1, 5, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(image, taps.view(1, 1, 1, 5).expand(channels, -1, -1, -1), groups=channels)


def _reduce(image: Tensor) -> Tensor:
    return _smooth(image)[..., ::2, ::2]


def _expand(image: Tensor, size) -> Tensor:
    """Insert zeros between the pixels and smooth, to ``size`` (twice as large, or one less where that side is odd)."""
    height, width = image.shape[-2:]
    # Zeros go between repeated border pixels, so that the filter's even and odd taps stay balanced at the border too.
    image = F.pad(image, (1, 1, 1, 1), mode='replicate')
    spread = image.new_zeros(*image.shape[:2], 2 * height + 4, 2 * width + 4)
    spread[..., ::2, ::2] = image
    return _smooth(spread, scale=2.0)[..., 2:2 + size[0], 2:2 + size[1]]
