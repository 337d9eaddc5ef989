"""Cells of TIM, and the layers that change the size of features inside them."""

from typing import Callable, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers import PReLU, conv_norm_act, total
from mmfusion.models.layers.conv_act import fuses
from mmfusion.models.layers.whole_picture import picture_mean

from .genotype import Cell
from .operations import BatchNorm, build_operation, conv, operation_reach

Builder = Callable[[str, int], nn.Module]


class Chain(nn.Sequential):
    """Operations one after the other.

    Args:
        channels: Width C.
        operations: Their names.
        build: Makes an operation of a name and a width; a supernet gives one that makes mixtures.
    """

    def __init__(self, channels: int, operations: Sequence[str], build: Builder = build_operation) -> None:
        super().__init__(*(build(name, channels) for name in operations))


class Preprocess(nn.Module):
    """ReLU, pointwise convolution and BN at the entrance of a cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = conv(channels, channels)
        self.norm = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return conv_norm_act(F.relu(x), self.pointwise, self.norm)


class ChainCell(nn.Module):
    """A chain of operations; see :class:`Chain` for the arguments."""

    def __init__(self, channels: int, operations: Sequence[str], build: Builder = build_operation) -> None:
        super().__init__()
        self.preprocess = Preprocess(channels)
        self.operations = Chain(channels, operations, build)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return self.operations(self.preprocess(x))


class Blur(nn.Module):
    """Binomial 3x3 filter with reflected borders that keeps every other row and column."""

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer('kernel', (row[:, None] * row / 16)[None, None], persistent=False)  # (1, 1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / 2, W / 2)."""
        return F.conv2d(
            F.pad(x, (1, 1, 1, 1), mode='reflect'), self.kernel.expand(x.shape[1], 1, 3, 3), stride=2, groups=x.shape[1]
        )


class Down(nn.Module):
    """Half the size, twice the width, along two paths that are added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = conv(channels, channels)
        self.activation1 = PReLU()
        self.conv = conv(channels, channels, 3)
        self.activation2 = PReLU()
        self.blur = Blur()
        self.project = conv(channels, 2 * channels)
        self.shortcut = conv(channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2C, H / 2, W / 2)."""
        top = conv_norm_act(x, self.pointwise, activation=self.activation1)
        top = conv_norm_act(top, self.conv, activation=self.activation2)
        return total([conv_norm_act(self.blur(top), self.project), conv_norm_act(self.blur(x), self.shortcut)])


class Up(nn.Module):
    """Twice the size, half the width, along two paths that are added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = conv(channels, channels)
        self.activation1 = PReLU()
        self.transposed = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.activation2 = PReLU()
        self.project = conv(channels, channels // 2)
        self.shortcut = conv(channels, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C / 2, 2H, 2W)."""
        top = conv_norm_act(x, self.pointwise, activation=self.activation1)
        top = self.transposed(top)
        if fuses(top):
            top = F.leaky_relu_(top, self.activation2.weight.item())
        else:
            top = self.activation2(top)
        # Equal to a pointwise convolution of the enlarged features, at a quarter of its cost.
        enlarged = F.interpolate(conv_norm_act(x, self.shortcut), scale_factor=2, mode='bilinear', align_corners=False)
        return total([conv_norm_act(top, self.project), enlarged])


class SelectiveMerge(nn.Module):
    """Weighted sum of several features, with weights for each channel that depend on the means of all."""

    def __init__(self, channels: int, number: int = 3) -> None:
        super().__init__()
        hidden = max(channels // 8, 4)
        self.squeeze = conv(channels, hidden)
        self.activation = PReLU()
        self.scores = nn.ModuleList(conv(hidden, channels) for _ in range(number))

    def weights(self, mean: Tensor) -> Tensor:
        """Weights (N, number, C, 1, 1) from the mean of the summed features, (N, C, 1, 1); they sum up to 1 over
        ``number``.
        """
        squeezed = self.activation(self.squeeze(mean))
        return torch.stack([score(squeezed) for score in self.scores], dim=1).softmax(dim=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of one shape (N, C, H, W) to (N, C, H, W)."""
        weights = self.weights(sum(picture_mean(x, keepdim=True) for x in features))
        (first, *others), (weight, *rest) = features, weights.unbind(1)
        merged = first * weight
        for x, w in zip(others, rest):
            merged = torch.addcmul(merged, x, w) if torch.is_grad_enabled() else merged.addcmul_(x, w)
        return merged


class MultiscaleCell(nn.Module):
    """The same chain of operations, each with its own weights, at full, half and quarter size, merged and added to the
    input.

    Args:
        channels: Width C at full size; 2C at half, 4C at quarter size.
        operations: Names of the operations.
        build: See :class:`Chain`.
    """

    def __init__(self, channels: int, operations: Sequence[str], build: Builder = build_operation) -> None:
        super().__init__()
        self.preprocess = Preprocess(channels)
        self.down_half = Down(channels)
        self.down_quarter = nn.Sequential(Down(channels), Down(2 * channels))
        self.chain_full, self.chain_half, self.chain_quarter = (
            Chain(factor * channels, operations, build) for factor in (1, 2, 4)
        )
        self.up_half = Up(2 * channels)
        self.up_quarter = nn.Sequential(Up(4 * channels), Up(2 * channels))
        self.merge = SelectiveMerge(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W); H and W are multiples of 4."""
        x = self.preprocess(x)
        half = self.up_half(self.chain_half(self.down_half(x)))
        quarter = self.up_quarter(self.chain_quarter(self.down_quarter(x)))
        return total([self.merge([self.chain_full(x), half, quarter]), x])


CELLS = dict(chain=ChainCell, multiscale=MultiscaleCell)


def build_cell(cell: Cell, channels: int, build: Builder = build_operation) -> nn.Module:
    """Build a cell of a genotype.

    Examples:
        >>> build_cell(Cell('chain', ('spatial_3',)), 8)(torch.rand(1, 8, 5, 6)).shape
        torch.Size([1, 8, 5, 6])
    """
    return CELLS[cell.kind](channels, cell.operations, build)


def cells_reach(cells: Sequence[Cell], reach_of: Callable[[str], Optional[int]] = operation_reach) -> Optional[int]:
    """Pixels to each side that cells one after the other look at; None for the whole image.

    Args:
        cells: The cells.
        reach_of: The same of an operation by its name.

    Examples:
        >>> cells_reach([Cell('chain', ('residual_3_1', 'spatial_3'))]), cells_reach([Cell('multiscale', ('spatial_3',))])
        (4, None)
    """
    reaches = [reach_of(name) for cell in cells for name in cell.operations]
    # scales are merged by their means over the image
    return None if None in reaches or any(cell.kind != 'chain' for cell in cells) else sum(reaches)


def reflected(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Conv2d:
    """Convolution with bias and reflected borders."""
    return nn.Conv2d(in_channels, out_channels, kernel, padding=(kernel - 1) // 2, padding_mode='reflect')


def run_layers(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Convolutions one after the other, each with the batch norm and the activation that follow it."""
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        norm = rest.pop(0) if rest and isinstance(rest[0], BatchNorm) else None
        activation = rest.pop(0) if rest and isinstance(rest[0], PReLU) else None
        x = conv_norm_act(x, layer, norm, activation)
    return x


#: Pixels to each side that a stem or a head looks at: two 3x3 convolutions.
STEM_REACH = HEAD_REACH = 2


class Stem(nn.Sequential):
    """Two images to features: two 3x3 convolutions with PReLU.

    Args:
        channels: Width C of the features; 2C between the convolutions.
        norm: BN before the second PReLU, as stage 2 has it.
    """

    def __init__(self, channels: int, norm: bool = False) -> None:
        norms = [BatchNorm(channels)] if norm else []
        super().__init__(reflected(2, 2 * channels), PReLU(), reflected(2 * channels, channels), *norms, PReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, H, W) to (N, C, H, W)."""
        # The faster layout on a CPU, which the layers behind inherit. Not in bfloat16: oneDNN's gradient of the weights
        # of a dilated depthwise convolution reads memory that nobody has written then (torch 2.13).
        if x.device.type == 'cpu' and x.dtype == torch.float32 and not torch.is_autocast_enabled('cpu'):
            x = x.contiguous(memory_format=torch.channels_last)
        return run_layers(self, x)


class Head(nn.Sequential):
    """Features to an image: two 3x3 convolutions, the first one with a PReLU, and a pointwise one. Nothing bounds the
    output.

    Args:
        channels: Width of the features.
        hidden: Width after the first convolution.
        linear: Leave out the PReLU.
    """

    def __init__(self, channels: int, hidden: int, linear: bool = False) -> None:
        activation = [] if linear else [PReLU()]
        super().__init__(
            reflected(channels, hidden), *activation, reflected(hidden, hidden // 2), nn.Conv2d(hidden // 2, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, 1, H, W)."""
        return run_layers(self, x)
