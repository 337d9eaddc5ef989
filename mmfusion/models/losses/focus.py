"""Focus mask: the sharper of two sources, patch by patch.

TC-MoA: P. Zhu, Y. Sun, B. Cao and Q. Hu, CVPR 2024. Written from the formulas.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import sobel_magnitude

GREY = (0.2989, 0.587, 0.114)  # as published; the last digit can decide between two patches


@torch.no_grad()
def focus_mask(first: Tensor, second: Tensor, patch: int = 16) -> Tensor:
    r"""Where the first source is in focus: patches whose strongest edge is at least that of the second source.

    .. math:: M_p = \left[ \max_{x \in p} S(A)(x) \ge \max_{x \in p} S(B)(x) \right], \quad S = |G_x * \cdot| + |G_y *
        \cdot|

    The Sobel derivatives :math:`G` are those of the whole gray image with zeros around it, so the frame of an image
    counts as an edge. Patches lie from the upper left corner on; those at the right and the bottom are smaller where
    the size is no multiple of ``patch``.

    Args:
        first: (N, 1 or 3, H, W) floating; of RGB the gray value counts.
        second: Same shape.
        patch: Side of a patch in pixels.

    Returns:
        Tensor: (N, 1, H, W) bool, without gradient.

    Raises:
        ValueError: The sources differ in shape, or have neither 1 nor 3 channels.

    Examples:
        >>> sharp = (torch.arange(32.) // 2).remainder(2).expand(1, 1, 32, 32)  # stripes
        >>> blurred = torch.full_like(sharp, 0.5)
        >>> first = torch.cat([sharp[..., :16], blurred[..., 16:]], dim=3)
        >>> second = torch.cat([blurred[..., :16], sharp[..., 16:]], dim=3)
        >>> focus_mask(first, second)[0, 0, 5, [0, 15, 16, 31]].tolist()
        [True, True, False, False]
    """
    if first.shape != second.shape or first.dim() != 4 or first.shape[1] not in (1, 3):
        raise ValueError(
            f'focus_mask takes two equal batches (N, 1 or 3, H, W), got {tuple(first.shape)} and {tuple(second.shape)}'
        )
    height, width = first.shape[-2:]
    grey = torch.cat([_grey(first), _grey(second)], dim=1)  # (N, 2, H, W)
    strongest = F.max_pool2d(sobel_magnitude(grey), patch, ceil_mode=True)  # (N, 2, rows, columns)
    mask = strongest[:, :1] >= strongest[:, 1:]
    return mask.repeat_interleave(patch, 2).repeat_interleave(patch, 3)[..., :height, :width]


def _grey(image: Tensor) -> Tensor:
    if image.shape[1] == 1:
        return image
    red, green, blue = image.split(1, dim=1)
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue
