"""The operations of TIM's search space. Each keeps width, height and number of channels, so they can follow each other
in any order.

Convolutions pad with zeros and have no bias; ``dw`` is a depthwise convolution, dilated where the name says so.

==========================  ===============================================================================================
name                        definition
==========================  ===============================================================================================
``residual_{k}_{d}``        x + PReLU(BN(1x1(dw 3x3 dilated by 2(dw kxk dilated by d))))
``dense_{k}_{d}``           x + 0.333 x3 of three densely connected grouped convolutions with one PReLU
``dil_conv_{k}_{d}``        x + BN(1x1(dw kxk dilated by d(ReLU(x))))
``sep_conv_{k}_{d}``        twice BN(1x1(dw kxk(ReLU(.)))), without a shortcut
``eca_{k}``                 channels weighted by a 1D convolution of width k over their means, then 3x3 and PReLU, no
shortcut ``spatial_{k}``             pixels weighted by a kxk convolution of the maximum and the mean over channels
``non_local_{k}``           3x3, PReLU, attention between all pixels with a shortcut, kxk, PReLU
==========================  ===============================================================================================
"""

import re
from typing import Dict, NamedTuple, Optional, Sequence, Type

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import PReLU, conv_norm_act, depthwise_conv3x3, total
from mmfusion.models.layers.channels_last import channels_last
from mmfusion.models.layers.conv_act import fused_conv2d, fuses
from mmfusion.models.layers.whole_picture import picture_mean, picture_norm
from mmfusion.utils.compat import traced
from mmfusion.utils.errors import InputError

_RELU = nn.ReLU()


def conv(in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    """Convolution without bias that keeps height and width by zero padding."""
    dilated = kernel == 3 and dilation > 1 and groups == in_channels == out_channels
    kind = DilatedDepthwise if dilated else nn.Conv2d
    return kind(
        in_channels,
        out_channels,
        kernel,
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        groups=groups,
        bias=False,
    )


class DilatedDepthwise(nn.Conv2d):
    """A dilated depthwise 3x3 convolution with a fast gradient on a CPU; see
    :func:`~mmfusion.models.layers.depthwise_conv3x3`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        if x.device.type == 'cpu' and torch.is_grad_enabled() and not torch.is_autocast_enabled('cpu') and not traced():
            return depthwise_conv3x3(x, self.weight, dilation=self.dilation[0])
        return super().forward(x)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can use the statistics of each image in evaluation mode.

    Attributes:
        image_statistics: In evaluation mode, normalize each image with its own mean and variance and leave the running
            ones alone. This is what a network left in training mode does with one image, as the published programs run
            some of theirs.
    """

    image_statistics: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        if self.image_statistics and not self.training:
            return picture_norm(x, self.weight, self.bias, self.eps)
        return super().forward(x)


class Residual(nn.Module):
    """Two depthwise convolutions, the second one 3x3 dilated by 2, a pointwise one, BN and PReLU, with a shortcut."""

    def __init__(self, channels: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise = conv(channels, channels, kernel, dilation, groups=channels)
        self.context = conv(channels, channels, 3, 2, groups=channels)
        self.pointwise = conv(channels, channels)
        self.norm = BatchNorm(channels)
        self.activation = PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        top = conv_norm_act(self.context(self.depthwise(x)), self.pointwise, self.norm, self.activation)
        return total([top, x])


class Dense(nn.Module):
    """Three densely connected convolutions in as many groups as channels.

    Group g of the second convolution sees channels 2g and 2g + 1 of the two inputs one after the other, group g of the
    third one channels 3g to 3g + 2 of three, so channels mix here. 0.333 is the published factor.
    """

    def __init__(self, channels: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, kernel, dilation, groups=channels)
        self.conv2 = conv(2 * channels, channels, kernel, dilation, groups=channels)
        self.conv3 = conv(3 * channels, channels, kernel, dilation, groups=channels)
        self.activation = PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        x1 = conv_norm_act(x, self.conv1, activation=self.activation)
        x2 = self._group(self.conv2, [x, x1])
        x3 = self._group(self.conv3, [x, x1, x2])
        return torch.add(x, x3, alpha=0.333)

    def _group(self, conv: nn.Conv2d, parts: Sequence[Tensor]) -> Tensor:
        """Grouped convolution of n parts of C channels side by side, and PReLU.

        oneDNN has no kernel for groups of two or three channels. Where nothing learns and no group looks at two parts,
        each part goes through a depthwise convolution and a pointwise one of zeros and ones, which adds the channels of
        a group; nothing is put side by side before.
        """
        channels, number = parts[0].shape[1], len(parts)
        if channels % number or not fuses(parts[0]):
            return self.activation(conv(torch.cat(parts, dim=1)))
        kernels = conv.weight.reshape(number, channels, 1, *conv.kernel_size)
        add = torch.eye(channels // number).repeat_interleave(number, dim=1)[:, :, None, None]
        each = (
            F.conv2d(part, kernel, None, 1, conv.padding, conv.dilation, channels)
            for part, kernel in zip(parts, kernels)
        )
        return torch.cat([fused_conv2d(part, add, None, self.activation) for part in each], dim=1)


class DilConv(nn.Module):
    """ReLU, a dilated depthwise convolution, a pointwise one and BN, with a shortcut."""

    def __init__(self, channels: int, kernel: int = 3, dilation: int = 2) -> None:
        super().__init__()
        self.depthwise = conv(channels, channels, kernel, dilation, groups=channels)
        self.pointwise = conv(channels, channels)
        self.norm = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return total([conv_norm_act(self.depthwise(F.relu(x)), self.pointwise, self.norm), x])


class SepConv(nn.Module):
    """Twice ReLU, a depthwise convolution, a pointwise one and BN; no shortcut.

    The published class takes the dilation of the name for a stride and pads by 1 whatever the kernel; this one keeps
    the size, which is the same for the only one that was published, ``sep_conv_3_1``.
    """

    def __init__(self, channels: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise1, self.depthwise2 = (
            conv(channels, channels, kernel, dilation, groups=channels) for _ in range(2)
        )
        self.pointwise1, self.pointwise2 = conv(channels, channels), conv(channels, channels)
        self.norm1, self.norm2 = BatchNorm(channels), BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        x = conv_norm_act(self.depthwise1(F.relu(x)), self.pointwise1, self.norm1, _RELU)
        return conv_norm_act(self.depthwise2(x), self.pointwise2, self.norm2)


class ChannelAttention(nn.Module):
    """Efficient channel attention, a full 3x3 convolution and PReLU; no shortcut."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.score = nn.Conv1d(1, 1, kernel, padding=(kernel - 1) // 2, bias=False)
        self.conv = conv(channels, channels, 3)
        self.activation = PReLU()

    def weights(self, mean: Tensor) -> Tensor:
        """Weights (N, C) of the channels from their means (N, C)."""
        return self.score(mean[:, None]).squeeze(1).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        weights = self.weights(picture_mean(x))
        if (
            fuses(x) and len(x) == 1
        ):  # the weights of one image are part of the kernel; a graph must not ask for the batch
            return fused_conv2d(
                channels_last(x), self.conv.weight * weights[:, :, None, None], None, self.activation, self.conv.padding
            )
        return conv_norm_act(x * weights[:, :, None, None], self.conv, activation=self.activation)


class SpatialAttention(nn.Module):
    """Every pixel weighted by a convolution of the maximum and the mean over its channels."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.score = conv(2, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return x * self.score(pooled).sigmoid()


class NonLocal(nn.Module):
    """A 3x3 convolution, attention between all pixels with a shortcut, and a kxk convolution, each convolution with a
    PReLU.

    Time grows with the square of the number of pixels (memory does not): meant for crops. No published genotype has it,
    and the default search space does not contain it. The attention starts at zero.
    """

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.conv1, self.conv2 = conv(channels, channels, 3), conv(channels, channels, kernel)
        self.query, self.key, self.value = (conv(channels, hidden) for _ in range(3))
        self.project = conv(hidden, channels)
        self.activation1, self.activation2 = PReLU(), PReLU()
        nn.init.zeros_(self.project.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        x = conv_norm_act(x, self.conv1, activation=self.activation1)
        tokens = [
            layer(x).flatten(2).transpose(1, 2)[:, None] for layer in (self.query, self.key, self.value)
        ]  # (N, 1, HW, C / 2)
        attended = F.scaled_dot_product_attention(*tokens, scale=1.0)[:, 0]
        x = x + self.project(attended.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:]))
        return conv_norm_act(x, self.conv2, activation=self.activation2)


class Operation(NamedTuple):
    """A parsed name. ``dilation`` is None for the kinds that have none."""

    kind: str
    kernel: int
    dilation: object


DILATED: Dict[str, Type[nn.Module]] = dict(residual=Residual, dense=Dense, dil_conv=DilConv, sep_conv=SepConv)
UNDILATED: Dict[str, Type[nn.Module]] = dict(eca=ChannelAttention, spatial=SpatialAttention, non_local=NonLocal)
OPERATIONS: Dict[str, Type[nn.Module]] = {**DILATED, **UNDILATED}

#: Every operation that a published genotype contains.
SEARCH_SPACE = (
    'residual_3_1',
    'residual_3_2',
    'residual_5_1',
    'dense_3_1',
    'dense_5_1',
    'dil_conv_3_2',
    'sep_conv_3_1',
    'eca_3',
    'spatial_3',
)

_NAME = re.compile(rf'(?:({"|".join(DILATED)})_([0-9]{{1,2}})_([0-9]{{1,2}})|({"|".join(UNDILATED)})_([0-9]{{1,2}}))')


def parse_operation(name: str) -> Operation:
    """Kind, kernel and dilation of an operation's name.

    Raises:
        ValueError: The name is not one of an operation, the kernel is even or above 99, or the dilation is 0 or
            above 99.

    Examples:
        >>> parse_operation('dil_conv_3_2')
        Operation(kind='dil_conv', kernel=3, dilation=2)
        >>> parse_operation('eca_5')
        Operation(kind='eca', kernel=5, dilation=None)
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        known = [f'{kind}_{{kernel}}_{{dilation}}' for kind in DILATED] + [f'{kind}_{{kernel}}' for kind in UNDILATED]
        raise InputError(f'{name!r} is no operation of TIM; there are {", ".join(known)}')
    kind, kernel = match[1] or match[4], int(match[2] or match[5])
    dilation = int(match[3]) if match[1] else None
    if kernel % 2 == 0 or dilation == 0:
        raise InputError(f'{name}: the kernel must be odd and the dilation at least 1')
    return Operation(kind, kernel, dilation)


def operation_reach(name: str) -> Optional[int]:
    """Pixels to each side that an operation looks at; None where it looks at the whole image.

    Examples:
        >>> operation_reach('residual_5_1'), operation_reach('eca_3')
        (4, None)
    """
    kind, kernel, dilation = parse_operation(name)
    factor, more = dict(residual=(1, 2), dense=(3, 0), dil_conv=(1, 0), sep_conv=(2, 0), spatial=(1, 0)).get(
        kind, (None, 0)
    )
    return None if factor is None else factor * (dilation or 1) * (kernel // 2) + more


def build_operation(name: str, channels: int) -> nn.Module:
    """Build an operation by its name.

    Args:
        name: As in the table of this module, such as ``'residual_3_1'``.
        channels: Width C of its input and output.

    Raises:
        ValueError: The name is unknown, or ``channels`` is below 1.

    Examples:
        >>> sum(p.numel() for p in build_operation('residual_3_1', 48).parameters())
        3265
    """
    kind, kernel, dilation = parse_operation(name)
    if channels < 1:
        raise InputError(f'{name} needs at least 1 channel, got {channels}')
    return OPERATIONS[kind](channels, kernel) if dilation is None else OPERATIONS[kind](channels, kernel, dilation)
