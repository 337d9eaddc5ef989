"""Convolution and activation as one layer, and as one operation in inference on a CPU."""

from functools import lru_cache
from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.utils.compat import added_convolution, fused_convolution

from .channels_last import channels_last
from .conv_norm import ConvNorm, folded
from .strips import must_stay_whole

#: Height and width from which a copy of an image costs more than its borders.
_LARGE = 128

_fused = lru_cache(maxsize=None)(fused_convolution)
_added = lru_cache(maxsize=None)(added_convolution)


class ConvAct(nn.Sequential):
    """A convolution, perhaps with batch norm, and an activation behind it; stride 1.

    Where nothing learns, oneDNN applies the activation while the result of the convolution is in the cache: one pass
    over it less. Elsewhere it is a chain of the two modules, whose names are theirs in either case.

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
        return _fused_layer(x, conv, *weights, activation)

    def of_parts(self, parts: Sequence[Tensor]) -> Tensor:
        """The layer of tensors (N, c, H, W) side by side; where nothing learns they are not put together, each adds to
        the result in its place.
        """
        layer, activation = self
        plain = isinstance(layer, nn.Conv2d) and layer.padding_mode == 'zeros' and layer.groups == 1
        if not (plain and isinstance(activation, nn.ReLU) and fuses(parts[0])):
            return self(torch.cat(tuple(parts), dim=1))
        return sum_of_convs(parts, layer.weight, layer.bias, activation, layer.padding, layer.dilation)


def conv_norm_act(
    x: Tensor, conv: nn.Conv2d, norm: Optional[nn.BatchNorm2d] = None, activation: Optional[nn.Module] = None
) -> Tensor:
    """``activation(norm(conv(x)))`` of modules that a network holds apart, as one operation where nothing learns;
    stride 1.

    Args:
        x: (N, C, H, W).
        conv: Convolution.
        norm: Batch norm with running statistics; one in training mode, or with ``image_statistics``, stays an operation
            of its own.
        activation: As in :class:`ConvAct`.
    """
    affine = norm is None or not (norm.training or getattr(norm, 'image_statistics', False))
    if not fuses(x) or not affine:
        x = conv(x)
        x = x if norm is None else norm(x)
        return x if activation is None else activation(x)
    weights = (conv.weight, conv.bias) if norm is None else folded(conv, norm)
    return _fused_layer(x, conv, *weights, activation)


def _fused_layer(
    x: Tensor, conv: nn.Conv2d, weight: Tensor, bias: Optional[Tensor], activation: Optional[nn.Module]
) -> Tensor:
    """A convolution with other weights and an activation behind it."""

    def run(x: Tensor, padding: Tuple[int, int]) -> Tensor:
        return fused_conv2d(channels_last(x), weight, bias, activation, padding, conv.dilation, conv.groups)

    if conv.padding_mode == 'zeros':
        return run(x, conv.padding)
    (rows, columns), mode = conv.padding, conv.padding_mode
    if min(x.shape[-2:]) < _LARGE or mode not in ('reflect', 'replicate'):
        return run(F.pad(x, (columns, columns, rows, rows), mode=mode), (0, 0))
    # Rather than copy the image for its borders, let them be zeros and compute the results there once more.
    result = run(x, conv.padding)
    if rows:
        result[:, :, :rows] = run(F.pad(x[:, :, : 2 * rows], (columns, columns, rows, 0), mode=mode), (0, 0))
        result[:, :, -rows:] = run(F.pad(x[:, :, -2 * rows :], (columns, columns, 0, rows), mode=mode), (0, 0))
    if columns:
        result[..., :columns] = run(F.pad(x[..., : 2 * columns], (columns, 0, rows, rows), mode=mode), (0, 0))
        result[..., -columns:] = run(F.pad(x[..., -2 * columns :], (0, columns, rows, rows), mode=mode), (0, 0))
    return result


def fuses(x: Tensor) -> bool:
    """Whether :func:`fused_conv2d` may be called: float32 on a CPU, nothing learns, no autocast, nothing traces."""
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not must_stay_whole()
        and torch.backends.mkldnn.enabled
        and _fused() is not None
        and _added() is not None
    )


def fused_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    activation: Optional[nn.Module] = None,
    padding: Tuple[int, int] = (0, 0),
    dilation: Tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """``activation(conv2d(x, weight, bias, ...))``, only where :func:`fuses` says so."""
    if activation is None:  # also without: with one thread, torch's own pointwise convolution does not call oneDNN
        name, scalars = 'none', []
    elif isinstance(activation, nn.LeakyReLU):
        name, scalars = 'leaky_relu', [activation.negative_slope]
    elif isinstance(activation, nn.PReLU):
        name, scalars = 'leaky_relu', [activation.weight.item()]
    else:
        name, scalars = 'relu', []
    return _fused()(x, weight, bias, padding, (1, 1), dilation, groups, name, scalars, '')


def sum_of_convs(
    parts: Sequence[Tensor],
    weight: Tensor,
    bias: Optional[Tensor],
    activation: Optional[nn.ReLU] = None,
    padding: Tuple[int, int] = (0, 0),
    dilation: Tuple[int, int] = (1, 1),
) -> Tensor:
    """:func:`fused_conv2d` of tensors (N, c, H, W) side by side, which are not copied for it."""
    weights = weight.split([part.shape[1] for part in parts], dim=1)
    places = padding, (1, 1), dilation, 1
    first = activation if len(parts) == 1 else None
    result = fused_conv2d(channels_last(parts[0]), weights[0], bias, first, padding, dilation)
    for number, (part, kernel) in enumerate(zip(parts[1:], weights[1:]), start=2):
        last = 'relu' if activation is not None and number == len(parts) else None
        _added()(result, channels_last(part), kernel, None, *places, 'add', 1.0, last, [], None)
    return result
