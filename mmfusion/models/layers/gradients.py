"""Image gradients."""

from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def sobel_xy(image: Tensor) -> Tuple[Tensor, Tensor]:
    """Sobel derivatives with zero padding, on any device and dtype, channel by channel.

    The separable 3x3 kernels ``[-1 0 1; -2 0 2; -1 0 1]`` and its vertical sister ``[1 2 1; 0 0 0; -1 -2 -1]``, as
    shifted sums: no kernel tensor has to live anywhere.

    Args:
        image: (..., H, W) floating.

    Returns:
        tuple: Horizontal (right minus left) and vertical (upper minus lower) derivative, each (..., H, W).

    Examples:
        >>> import torch
        >>> gx, gy = sobel_xy(torch.arange(25.).reshape(1, 1, 5, 5))
        >>> gx[0, 0, 2, 2].item(), gy[0, 0, 2, 2].item()
        (8.0, -40.0)
    """
    padded = F.pad(image, (1, 1, 1, 1))
    across = padded[..., 2:] - padded[..., :-2]  # (..., H + 2, W)
    down = padded[..., :-2, :] - padded[..., 2:, :]  # (..., H, W + 2)
    return (
        across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
        down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
    )


def sobel_magnitude(image: Tensor) -> Tensor:
    """Sum of the absolute Sobel derivatives, ``|Gx| + |Gy|``, the same shape as ``image``; see :func:`sobel_xy`."""
    gx, gy = sobel_xy(image)
    return gx.abs() + gy.abs()


def stronger(first: Tensor, second: Tensor) -> Tensor:
    """Element by element the value of larger magnitude, with its sign; that of ``first`` where they are equal.

    Examples:
        >>> stronger(torch.tensor([1., -3., 2.]), torch.tensor([-2., 1., -2.])).tolist()
        [-2.0, -3.0, 2.0]
    """
    return torch.where(first.abs() >= second.abs(), first, second)
