"""The Laplacian pyramid: P. J. Burt and E. H. Adelson, IEEE Trans. Commun. 31, 532 (1983)."""

from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.utils.compat import exporting

TAPS = [tap / 16 for tap in (1, 4, 6, 4, 1)]
EVEN, ODD = (0.125, 0.75, 0.125), (0.0, 0.5, 0.5)  # of an enlarged image: pixels that were there, and those between


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


def reduce(image: Tensor) -> Tensor:
    """Half an image (N, C, H, W), odd sides rounded up: the 5-tap filter in both directions, border pixels repeated, at
    every second pixel.
    """
    if exporting():
        return _filtered(F.pad(image, (2, 2, 2, 2), mode='replicate'), [_outer(TAPS, TAPS)], stride=2)
    height, width = ((side + 1) // 2 for side in image.shape[-2:])
    image = F.pad(image, (2, 2, 2, 2), mode='replicate')
    image = _five_taps(*(image[..., k : k + 2 * height - 1 : 2, :] for k in range(5)))
    return _five_taps(*(image[..., k : k + 2 * width - 1 : 2] for k in range(5))).mul_(1 / 256)


def expand(image: Tensor, size: Tuple[int, int]) -> Tensor:
    """Insert zeros between the pixels and smooth, to ``size`` (twice as large, or one less where that side is odd).

    The zeros are not computed with: pixels that were there get the even taps of the filter, (1, 6, 1) / 8, those
    between them the odd ones, (4, 4) / 8. Border pixels are repeated, so that both stay balanced at the border too.
    """
    image = F.pad(image, (1, 1, 1, 1), mode='replicate')
    if exporting():  # the four kinds of pixels as channels
        kinds = _filtered(image, [_outer(rows, columns) for rows in (EVEN, ODD) for columns in (EVEN, ODD)])
        return F.pixel_shuffle(kinds, 2)[..., : size[0], : size[1]]
    before, here, after = image[..., :-2, :], image[..., 1:-1, :], image[..., 2:, :]
    rows = torch.stack(_even_and_odd(before, here, after), dim=-2).flatten(-3, -2)[..., : size[0], :]
    before, here, after = rows[..., :-2], rows[..., 1:-1], rows[..., 2:]
    return torch.stack(_even_and_odd(before, here, after), dim=-1).flatten(-2)[..., : size[1]]


def _filtered(image: Tensor, kernels: List[List[List[float]]], stride: int = 1) -> Tensor:
    """Each channel of (N, C, H, W) through each of K kernels, (N, C K, H', W'), the kernels of a channel side by
    side.
    """
    channels = image.shape[1]
    weight = image.new_tensor(kernels)[:, None].repeat(channels, 1, 1, 1)
    return F.conv2d(image, weight, stride=stride, groups=channels)


def _outer(rows: Sequence[float], columns: Sequence[float]) -> List[List[float]]:
    return [[a * b for b in columns] for a in rows]


# sums of slices, for a convolution of one channel takes four times as long on a CPU; runtimes of graphs have it the
# other way round
def _five_taps(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor) -> Tensor:
    return (a + e).add_(c, alpha=6).add_(b + d, alpha=4)


def _even_and_odd(before: Tensor, here: Tensor, after: Tensor) -> Tuple[Tensor, Tensor]:
    return (before + after).add_(here, alpha=6).mul_(1 / 8), (here + after).mul_(0.5)
