"""Transformer block with attention between channels.

S. W. Zamir et al., "Restormer: Efficient transformer for high-resolution image restoration", CVPR 2022, arXiv 2111.09881. Written from the
formulas, without official code.
"""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from .depthwise import depthwise_conv3x3


def pointwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """1x1 convolution of (N, C, H, W) as a matrix product over the pixels, which for ``channels_last`` is one product over contiguous memory."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


def depthwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Depthwise 3x3 convolution with the weight, and the bias where there is one, of ``conv``."""
    out = depthwise_conv3x3(x, conv.weight)
    return out if conv.bias is None else out + conv.bias.view(-1, 1, 1)


def channel_attention(query: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
    r"""Attention between the channels of each head.

    .. math:: A = \mathrm{softmax}(t\, \hat q \hat k^T), \quad \hat q = q / |q|_2, \; \hat k = k / |k|_2

    with q and k normalised over all pixels.

    Args:
        query: (N, C, H, W).
        key: Same shape.
        temperature: t of each head, (heads, 1, 1); divides C.

    Returns:
        Tensor: (N, heads, C / heads, C / heads).
    """
    n, c = query.shape[:2]
    heads = temperature.shape[0]
    q, k = (F.normalize(x.reshape(n, heads, c // heads, -1), dim=-1) for x in (query, key))  # (N, heads, C / heads, HW)
    return (q @ k.transpose(-2, -1) * temperature).softmax(dim=-1)


def apply_attention(attention: Tensor, value: Tensor, project: nn.Conv2d) -> Tensor:
    """Attend and project.

    Args:
        attention: (N, heads, c, c).
        value: (N, heads c, H, W).
        project: 1x1 convolution.

    Returns:
        Tensor: (N, C', H, W).
    """
    n, heads, size = attention.shape[:3]
    out = attention @ value.reshape(n, heads, size, -1)
    return pointwise(out.reshape(n, heads * size, *value.shape[-2:]), project)


class PixelNorm(BaseModule):
    """Layer norm of every pixel over its channels, with scale and shift.

    Args:
        channels: C.
        eps: Added to the (biased) variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class ChannelAttention(BaseModule):
    """Multi-head attention between channels, with queries, keys and values mixed over 3x3 pixels ("MDTA").

    Args:
        channels: C.
        heads: Number of heads; divides C.
        bias: Whether the convolutions have a bias.

    Raises:
        ValueError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, heads: int = 8, bias: bool = False) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f'heads must divide channels, got {heads} heads for {channels} channels')
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.qkv_depthwise = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias)
        self.project = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Attend (N, C, H, W) to itself."""
        query, key, value = depthwise(pointwise(x, self.qkv), self.qkv_depthwise).chunk(3, dim=1)
        return apply_attention(channel_attention(query, key, self.temperature), value, self.project)


class GatedFeedForward(BaseModule):
    """Feed-forward network whose one half, through a GELU, gates the other ("GDFN").

    Args:
        channels: C.
        factor: Hidden width over C.
        bias: Whether the convolutions have a bias.
    """

    def __init__(self, channels: int, factor: float = 2.0, bias: bool = False) -> None:
        super().__init__()
        hidden = int(channels * factor)
        if hidden < 1:
            raise ValueError(f'factor {factor} leaves no hidden channel of {channels}')
        self.expand = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        gate, content = depthwise(pointwise(x, self.expand), self.depthwise).chunk(2, dim=1)
        return pointwise(F.gelu(gate) * content, self.project)


class RestormerBlock(BaseModule):
    """Channel attention and gated feed-forward network, each behind a norm and with a shortcut; any size.

    Args:
        channels: C.
        heads: Heads of the attention.
        factor: Hidden width of the feed-forward network over C.
        bias: Whether the convolutions have a bias.

    Examples:
        >>> RestormerBlock(16)(torch.rand(1, 16, 5, 7)).shape
        torch.Size([1, 16, 5, 7])
    """

    def __init__(self, channels: int, heads: int = 8, factor: float = 2.0, bias: bool = False) -> None:
        super().__init__()
        self.norm1 = PixelNorm(channels)
        self.attention = ChannelAttention(channels, heads, bias)
        self.norm2 = PixelNorm(channels)
        self.feed_forward = GatedFeedForward(channels, factor, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        if x.device.type == 'cpu':
            x = x.contiguous(memory_format=torch.channels_last)
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


def restormer_blocks(channels: int, number: int, **options) -> nn.Sequential:
    """A chain of blocks of one width; ``options`` as :class:`RestormerBlock`."""
    return nn.Sequential(*(RestormerBlock(channels, **options) for _ in range(number)))
