"""Convolution and batch norm as one layer."""
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """Convolution with bias that keeps the size, and batch norm; outside training one convolution, since the norm is an affine map then.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        kernel: Size of the kernel, odd.
        dilation: Distance of its elements.
        padding_mode: What lies beyond the borders, as ``nn.Conv2d`` has it.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, dilation: int = 1, padding_mode: str = 'zeros') -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, padding=dilation * (kernel // 2), dilation=dilation, padding_mode=padding_mode)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H, W)."""
        if self.norm.training:
            return self.norm(self.conv(x))
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        bias = self.norm.bias + scale * (self.conv.bias - self.norm.running_mean)
        return self.conv._conv_forward(x, self.conv.weight * scale[:, None, None, None], bias)
