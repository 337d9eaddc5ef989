"""Convolution and batch norm as one layer."""

from typing import Tuple

from torch import Tensor, nn

from .whole_picture import picture_norm


class ConvNorm(nn.Module):
    """Convolution with bias that keeps the size, and batch norm; outside training one convolution, since the norm is an
    affine map then.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        kernel: Size of the kernel, odd.
        dilation: Distance of its elements.
        padding_mode: What lies beyond the borders, as ``nn.Conv2d`` has it.
        bias: Whether the convolution has a bias of its own.
        per_image: Outside training, normalize every image by its own mean and variance in the place of the running
            statistics.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        dilation: int = 1,
        padding_mode: str = 'zeros',
        bias: bool = True,
        per_image: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, padding=padding, dilation=dilation, bias=bias, padding_mode=padding_mode
        )
        self.norm, self.per_image = nn.BatchNorm2d(channels_out), per_image

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H, W)."""
        if self.norm.training:
            return self.norm(self.conv(x))
        if self.per_image:
            return picture_norm(self.conv(x), self.norm.weight, self.norm.bias, self.norm.eps)
        return self.conv._conv_forward(x, *self.folded())

    @property
    def is_affine(self) -> bool:
        """Whether the norm is a fixed affine map now, so that :meth:`folded` is the whole layer."""
        return not self.norm.training and not self.per_image

    def folded(self) -> Tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that the layer is with the running statistics."""
        return folded(self.conv, self.norm)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that a convolution and a batch norm with its running statistics are."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = norm.bias - scale * norm.running_mean
    if conv.bias is not None:
        bias = bias + scale * conv.bias
    return conv.weight * scale[:, None, None, None], bias
