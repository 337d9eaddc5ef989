"""The Laplacian pyramid: P. J. Burt and E. H. Adelson, IEEE Trans. Commun. 31, 532 (1983)."""

from typing import List, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor


def laplacian_pyramid(image: Tensor, levels: int) -> List[Tensor]:
    """Take an image apart into details of several scales and what is left.

    Args:
        image: (N, C, H, W).
        levels: Levels of detail; fewer where the image would become smaller than 2 pixels.

    Returns:
        list: Details from fine to coarse, then the base; :func:`from_laplacian_pyramid` gives the image back.

    Examples:
        >>> import torch
        >>> [tuple(part.shape[-2:]) for part in laplacian_pyramid(torch.rand(1, 1, 17, 30), 2)]
        [(17, 30), (9, 15), (5, 8)]
    """
    pyramid = []
    for _ in range(levels):
        if min(image.shape[-2:]) < 4:
            break
        coarse = reduce(image)
        pyramid.append(image - expand(coarse, image.shape[-2:]))
        image = coarse
    return [*pyramid, image]


def from_laplacian_pyramid(pyramid: Sequence[Tensor]) -> Tensor:
    """Put an image together from its details, fine to coarse, and its base."""
    *details, image = pyramid
    for detail in reversed(details):
        image = expand(image, detail.shape[-2:]) + detail
    return image


def smooth(image: Tensor, scale: float = 1.0) -> Tensor:
    """Burt and Adelson's 5-tap filter in both directions, border pixels repeated."""
    taps = image.new_tensor([1, 4, 6, 4, 1]) / 16 * scale
    channels = image.shape[1]
    image = F.pad(image, (2, 2, 2, 2), mode='replicate')
    image = F.conv2d(image, taps.view(1, 1, 5, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(image, taps.view(1, 1, 1, 5).expand(channels, -1, -1, -1), groups=channels)


def reduce(image: Tensor) -> Tensor:
    """Half an image (N, C, H, W), odd sides rounded up."""
    return smooth(image)[..., ::2, ::2]


def expand(image: Tensor, size: Tuple[int, int]) -> Tensor:
    """Insert zeros between the pixels and smooth, to ``size`` (twice as large, or one less where that side is odd)."""
    height, width = image.shape[-2:]
    # Zeros go between repeated border pixels, so that the filter's even and odd taps stay balanced at the border too.
    image = F.pad(image, (1, 1, 1, 1), mode='replicate')
    spread = image.new_zeros(*image.shape[:2], 2 * height + 4, 2 * width + 4)
    spread[..., ::2, ::2] = image
    return smooth(spread, scale=2.0)[..., 2 : 2 + size[0], 2 : 2 + size[1]]
