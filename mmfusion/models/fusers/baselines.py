"""Fusers without parameters, for every comparison."""

from typing import List, Sequence

import torch
from torch import Tensor

from mmfusion.models.layers import from_laplacian_pyramid, laplacian_pyramid, stronger
from mmfusion.models.layers.color import blend_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from mmfusion.registry import MODELS

from .base import MIN_SIZE, BaseFuser, FuserOutput


@MODELS.register_module()
class SourceFuser(BaseFuser):
    """Return one source unchanged: "visible only" and "infrared only" in tables.

    It works in RGB, so the source keeps its own color and takes none from the other: a gray infrared image stays gray
    (three equal channels where the visible source is RGB), and an RGB source comes back bit by bit.

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
    reach = 0

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

    reach = 0

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

    reach = 0

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Take the maximum."""
        return FuserOutput(torch.maximum(first, second), {})


@MODELS.register_module()
class FalseColorFuser(BaseFuser):
    r"""The brighter luminance with the colors of the sources, tinted where the second source is the brighter one.

    .. math:: F = \max(Y_A, Y_B) + C + t \, \max(Y_B - Y_A, 0)

    with the chroma C that luminance fusers get back and a tint t in RGB. What is warm in an infrared image comes out in
    the color of skin by default, which detectors of people trained on color photographs answer to; a gray maximum loses
    where a bright pixel comes from. False color of this kind goes back to A. Toet and J. Walraven, Opt. Eng. 35, 650
    (1996).

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
    channels = (3,)
    reach = 0

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
    """Laplacian pyramid: at each level the detail of larger magnitude, of the coarsest level the mean or the maximum.

    P. J. Burt, E. H. Adelson, "The Laplacian pyramid as a compact image code", IEEE Trans. Commun. 31, 532 (1983); the
    choice by magnitude follows A. Toet, Pattern Recognit. Lett. 9, 245 (1989). Any size works: odd sides are rounded up
    when halved.

    Args:
        levels: Levels of detail; fewer are used where the image would become smaller than 2 pixels.
        base: ``'mean'`` or ``'max'``, for what is left below them. The brighter base keeps what is warm in the dark as
            bright as it was.

    Raises:
        ValueError: ``levels`` is below 1, or ``base`` is neither.
    """

    def __init__(self, levels: int = 5, base: str = 'mean') -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f'levels must be at least 1, got {levels}')
        if base not in ('mean', 'max'):
            raise ValueError(f"base must be 'mean' or 'max', got {base!r}")
        self.levels, self.base = levels, base
        self.graph_min_size = max(MIN_SIZE, 3 * 2 ** (levels - 1) + 1)  # from here on all levels are there
        # level k halves k times: 2 pixels of each level on the way down, and as many on the way up
        self.reach, self.stride = 4 * (2**levels - 1), 2**levels

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse level by level."""
        (*details_a, base_a), (*details_b, base_b) = self.decompose(first), self.decompose(second)
        details = [stronger(a, b) for a, b in zip(details_a, details_b)]
        base = (base_a + base_b) / 2 if self.base == 'mean' else torch.maximum(base_a, base_b)
        return FuserOutput(from_laplacian_pyramid([*details, base]), {})

    def decompose(self, image: Tensor) -> List[Tensor]:
        """Details from fine to coarse, then the base; expanding and adding them gives ``image`` (N, C, H, W) back."""
        return laplacian_pyramid(image, self.levels)
