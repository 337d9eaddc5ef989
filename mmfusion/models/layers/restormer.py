"""Transformer block with attention between channels.

S. W. Zamir et al., "Restormer: Efficient transformer for high-resolution image restoration", CVPR 2022, arXiv
2111.09881. Written from the formulas, without official code. How it is computed differs from how it is printed; tests
compare both (tests/twins/tdfusion_twin.py):

- Channels lie innermost in memory, so 1x1 convolutions are matrix products and norms are over neighbors.
- Everything between a block's own features is computed strip by strip (:mod:`.strips`).
- Normalized queries and keys are never formed: one product of queries and keys with themselves holds their products and
  their norms.
- Attention and the projection behind it make one small matrix per image, which is applied to the values once.
- An exported graph keeps channels outermost, as runtimes lay out convolutions themselves, and has a convolution for
  each part that is used apart.
"""

from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.utils.compat import exporting

from .depthwise import depthwise_conv3x3
from .strips import HALO, IMAGE, ROWS, SHARED, Plan, map_strips
from .whole_picture import part_mask, picture_sum


def pointwise(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """1x1 convolution of (N, C, H, W) with ``weight`` (C', C, 1, 1), as a matrix product over the pixels."""
    if exporting():
        return F.conv2d(x, weight, bias)
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def local_features(
    above: int,
    below: int,
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    depthwise: Tensor,
    depthwise_bias: Optional[Tensor],
) -> Tensor:
    """1x1 convolution, then a depthwise 3x3 one, without the rows of the halo; see :class:`~.strips.Plan` for ``above``
    and ``below``.
    """
    x = pointwise(x, weight, bias)
    if above and below:  # the halo takes the place of the padding
        x = depthwise_conv3x3(x, depthwise, pad_rows=0)
    else:
        x = depthwise_conv3x3(x, depthwise)[:, :, above : x.shape[2] - below]
    return x if depthwise_bias is None else x + depthwise_bias.view(-1, 1, 1)


def local_parts(
    above: int,
    below: int,
    x: Tensor,
    sizes: Sequence[int],
    weight: Tensor,
    bias: Optional[Tensor],
    depthwise: Tensor,
    depthwise_bias: Optional[Tensor],
) -> Tuple[Tensor, ...]:
    """:func:`local_features`, taken apart into as many channels as ``sizes`` say."""
    if not exporting():
        return local_features(above, below, x, weight, bias, depthwise, depthwise_bias).split(tuple(sizes), dim=1)
    parts = [
        [None] * len(sizes) if w is None else w.split(tuple(sizes)) for w in (weight, bias, depthwise, depthwise_bias)
    ]
    return tuple(local_features(above, below, x, *each) for each in zip(*parts))


def pixel_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm of every pixel of (N, C, H, W) over its channels."""
    return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)


def gram(*features: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """Products between all channels, summed over the pixels: (N, D, D) in float32 or wider, for features (N, C, H, W)
    with D channels in all.

    Pixels count where ``mask`` (N, 1, H, W) is 1, or all of them.
    """
    with torch.autocast(features[0].device.type, enabled=False):
        x = features[0] if len(features) == 1 else torch.cat(features, dim=1)
        x = x if mask is None else x * mask
        if exporting():
            x = x.flatten(2)
            return x @ x.transpose(1, 2)
        x = x.to(torch.promote_types(x.dtype, torch.float32)).permute(0, 2, 3, 1).flatten(1, 2)  # (N, HW, D)
        return x.transpose(1, 2) @ x


def attention_from_gram(products: Tensor, query: int, key: int, channels: int, temperature: Tensor) -> Tensor:
    r"""Attention between the channels of each head.

    .. math:: A = \mathrm{softmax}(t\, \hat q \hat k^T), \quad \hat q = q / |q|_2, \; \hat k = k / |k|_2

    with q and k normalized over all pixels.

    Args:
        products: Gram matrix (N, D, D) of features that hold queries and keys.
        query: First channel of the queries.
        key: First channel of the keys.
        channels: Number C of channels of either.
        temperature: t of each head, (heads, 1, 1); divides C.

    Returns:
        Tensor: (N, heads, C / heads, C / heads).
    """
    heads = temperature.shape[0]
    norms = products.diagonal(dim1=1, dim2=2).clamp_min(1e-24).sqrt()  # (N, D); a channel of zeros stays zero
    cosine = (
        products[:, query : query + channels, key : key + channels]
        / norms[:, query : query + channels, None]
        / norms[:, None, key : key + channels]
    )  # (N, C, C)
    size = channels // heads
    blocks = cosine.view(-1, heads, size, heads, size).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)  # (N, heads, c, c)
    return (blocks * temperature).softmax(dim=-1)


def attention_matrix(attention: Tensor, project: Tensor) -> Tensor:
    """Attention (N, heads, c, c) followed by a 1x1 convolution (C', heads c, 1, 1), as one matrix (N, C', heads c) from
    values to result.
    """
    n, heads, size = attention.shape[:3]
    return torch.einsum('ohc,nhcd->nohd', project.view(-1, heads, size), attention).flatten(2)


def add_attended(x: Tensor, value: Tensor, matrix: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``x`` (N, C, H, W) plus the values (N, D, H, W) under the matrix (N, C, D) of their image."""
    if exporting():
        x = x + (matrix @ value.flatten(2)).view_as(x)
        return x if bias is None else x + bias.view(-1, 1, 1)
    n, c, h, w = x.shape
    flat = torch.baddbmm(
        x.permute(0, 2, 3, 1).reshape(n, h * w, c),
        value.permute(0, 2, 3, 1).reshape(n, h * w, -1),
        matrix.transpose(1, 2),
    )
    x = flat.view(n, h, w, c).permute(0, 3, 1, 2)
    return x if bias is None else x + bias.view(-1, 1, 1)


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
        """Normalize (N, C, H, W)."""
        return pixel_norm(x, self.weight, self.bias, self.eps)


class ChannelAttention(BaseModule):
    """Parameters of multi-head attention between channels, with queries, keys and values mixed over 3x3 pixels
    ("MDTA").

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

    def forward(self, x: Tensor, norm: PixelNorm) -> Tuple[Tensor, Tensor]:
        """Values of (N, C, H, W) behind ``norm``, and the matrix (N, C, C) that attention and projection apply to
        them.
        """
        channels = x.shape[1]

        def function(above, below, x, mask, scale, shift, *convs):
            x = pixel_norm(x, scale, shift, norm.eps)
            query_key, value = local_parts(above, below, x, (2 * channels, channels), *convs)
            return gram(query_key, mask=mask), value

        mask = part_mask(x)
        plan = Plan(function, (HALO, SHARED if mask is None else ROWS, *[SHARED] * 6), (IMAGE, ROWS))
        products, value = map_strips(
            plan,
            x,
            mask,
            norm.weight,
            norm.bias,
            self.qkv.weight,
            self.qkv.bias,
            self.qkv_depthwise.weight,
            self.qkv_depthwise.bias,
            width=3 * channels,
        )
        attention = attention_from_gram(picture_sum(products), 0, channels, channels, self.temperature)
        return value, attention_matrix(attention, self.project.weight)


class GatedFeedForward(BaseModule):
    """Parameters of a feed-forward network whose one half, through a GELU, gates the other ("GDFN").

    Args:
        channels: C.
        factor: Hidden width over C.
        bias: Whether the convolutions have a bias.

    Raises:
        ValueError: ``factor`` is too small.
    """

    def __init__(self, channels: int, factor: float = 2.0, bias: bool = False) -> None:
        super().__init__()
        hidden = int(channels * factor)
        if hidden < 1:
            raise ValueError(f'factor {factor} leaves no hidden channel of {channels}')
        self.expand = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project = nn.Conv2d(hidden, channels, 1, bias=bias)


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
        value, matrix = self.attention(x, self.norm1)
        norm, net = self.norm2, self.feed_forward

        def function(
            above,
            below,
            x,
            value,
            matrix,
            bias,
            scale,
            shift,
            expand,
            expand_bias,
            depthwise,
            depthwise_bias,
            project,
            project_bias,
        ):
            x = add_attended(x, value, matrix, bias)
            gate, content = local_parts(
                above,
                below,
                pixel_norm(x, scale, shift, norm.eps),
                [len(expand) // 2] * 2,
                expand,
                expand_bias,
                depthwise,
                depthwise_bias,
            )
            return (x[:, :, above : x.shape[2] - below] + pointwise(F.gelu(gate) * content, project, project_bias),)

        plan = Plan(function, (HALO, HALO, IMAGE, *[SHARED] * 9), (ROWS,))
        return map_strips(
            plan,
            x,
            value,
            matrix,
            self.attention.project.bias,
            norm.weight,
            norm.bias,
            net.expand.weight,
            net.expand.bias,
            net.depthwise.weight,
            net.depthwise.bias,
            net.project.weight,
            net.project.bias,
            width=net.expand.out_channels,
        )[0]


def restormer_blocks(channels: int, number: int, **options) -> nn.Sequential:
    """A chain of blocks of one width; ``options`` as :class:`RestormerBlock`."""
    return nn.Sequential(*(RestormerBlock(channels, **options) for _ in range(number)))
