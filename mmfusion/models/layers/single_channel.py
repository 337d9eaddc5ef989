"""3x3 convolution to a single channel, by sums over the channels of a pixel."""

from functools import reduce
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def conv_to_one_channel(parts: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """3x3 convolution with reflected borders of the parts side by side; they are read once, and neither copied nor
    padded.

    Every element of the kernel makes a map of its own, a sum over the channels of a pixel; the maps are shifted and
    added.

    Args:
        parts: (N, c, H, W) each, C channels together.
        weight: (1, C, 3, 3).
        bias: (1, ).

    Returns:
        Tensor: (N, 1, H, W).

    Examples:
        >>> x, weight, bias = torch.rand(1, 4, 5, 6), torch.rand(1, 4, 3, 3), torch.rand(1)
        >>> expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), weight, bias)
        >>> torch.allclose(conv_to_one_channel([x[:, :1], x[:, 1:]], weight, bias), expected, atol=1e-6)
        True
    """
    kernels = (
        weight[0].flatten(1).t()[:, :, None, None].split([part.shape[1] for part in parts], dim=1)
    )  # (9, c, 1, 1) each
    maps = reduce(torch.add, [F.conv2d(part, kernel) for part, kernel in zip(parts, kernels)])
    return add_shifted(maps) + bias.view(1, 1, 1, 1)


def add_shifted(maps: Tensor) -> Tensor:
    """Sum of nine maps (N, 9, H, W), each shifted to where a 3x3 kernel sees it, with reflected borders, as (N, 1, H,
    W).
    """
    maps = F.pad(maps, (1, 1, 1, 1), mode='reflect')
    return F.conv2d(maps, torch.eye(9, dtype=maps.dtype, device=maps.device).view(1, 9, 3, 3))
