"""Convolution and activation as one layer, and as one operation in inference on a CPU."""

from functools import lru_cache
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.utils.compat import fused_convolution

from .channels_last import channels_last
from .conv_norm import ConvNorm
from .strips import must_stay_whole

_fused = lru_cache(maxsize=None)(fused_convolution)


class ConvAct(nn.Sequential):
    """A convolution, perhaps with batch norm, and an activation behind it; stride 1.

    Where nothing learns, oneDNN applies the activation while the result of the convolution is in the cache: one pass over it less. Elsewhere it
    is a chain of the two modules, whose names are theirs in either case.

    Args:
        layer: ``nn.Conv2d`` or :class:`ConvNorm`.
        activation: ``nn.ReLU``, ``nn.LeakyReLU``, or ``nn.PReLU`` with one slope.

    Examples:
        >>> layer = ConvAct(nn.Conv2d(2, 4, 3, padding=1, padding_mode='reflect'), nn.ReLU())
        >>> layer(torch.rand(1, 2, 5, 6)).shape
        torch.Size([1, 4, 5, 6])
    """

    def __init__(self, layer: nn.Module, activation: nn.Module) -> None:
        super().__init__(layer, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        layer, activation = self
        if not fuses(x) or (isinstance(layer, ConvNorm) and not layer.is_affine):
            return super().forward(x)
        conv, weights = (
            (layer.conv, layer.folded()) if isinstance(layer, ConvNorm) else (layer, (layer.weight, layer.bias))
        )
        padding = conv.padding
        if conv.padding_mode != 'zeros':
            x, padding = F.pad(x, (padding[1], padding[1], padding[0], padding[0]), mode=conv.padding_mode), (0, 0)
        return fused_conv2d(channels_last(x), *weights, activation, padding, conv.dilation, conv.groups)


def fuses(x: Tensor) -> bool:
    """Whether :func:`fused_conv2d` may be called: float32 on a CPU, nothing learns, no autocast, nothing traces."""
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not must_stay_whole()
        and torch.backends.mkldnn.enabled
        and _fused() is not None
    )


def fused_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    activation: nn.Module,
    padding: Tuple[int, int] = (0, 0),
    dilation: Tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """``activation(conv2d(x, weight, bias, ...))``, only where :func:`fuses` says so."""
    if isinstance(activation, nn.LeakyReLU):
        name, scalars = 'leaky_relu', [activation.negative_slope]
    elif isinstance(activation, nn.PReLU):
        name, scalars = 'leaky_relu', [activation.weight.item()]
    else:
        name, scalars = 'relu', []
    return _fused()(x, weight, bias, padding, (1, 1), dilation, groups, name, scalars, '')
