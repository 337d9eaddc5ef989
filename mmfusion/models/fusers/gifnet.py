"""GIFNet: one network for all fusion tasks, in which two streams of window attention look at shared features.

C. Cheng, T. Xu, Z. Feng, X. Wu, Z. Tang, H. Li, Z. Zhang, S. Atito, M. Awais, J. Kittler, "One model for ALL: low-level
task interaction is a key to task-agnostic image fusion", CVPR 2025. Written from a description of the method, without
official code; github.com/AWCXV/GIFNet states no license for code and weights, so none are shipped.
``mmfusion convert gifnet`` brings the official weights over.
"""

from contextlib import nullcontext
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmfusion.models.layers import channels_last, map_local
from mmfusion.models.layers.open_sizes import reflect, round_up
from mmfusion.models.layers.strips import differentiated_again
from mmfusion.models.layers.whole_picture import picture_variance
from mmfusion.registry import MODELS
from mmfusion.utils.compat import exporting

from .base import BaseFuser, FuserOutput

WINDOW, HEADS = 8, 2
POSITION_WIDTH = 256  # hidden units of the net that makes the position bias
Border = Tuple[int, int, int, int]  # left, right, top, bottom


@MODELS.register_module()
class GIFNet(BaseFuser):
    """Densely connected features of both sources, two blocks of window attention in two streams, and a decoder of the
    features and the second stream.

    The authors teach the first stream infrared-visible and the second one multi-focus fusion; every test goes through
    the second, to which the first contributes after one block. What has no influence there (the second block of the
    first stream, a decoder for reconstruction) is not part of this network. Norms take mean and variance over the whole
    image, so the features of a crop differ from those of the image. The output lies in (0, 1).

    Args:
        width: Channels of each of the three dense layers; the streams have 2 + 3 ``width``.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program stores what the network
            makes.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is odd or below 2.

    Examples:
        >>> fuser = GIFNet(width=4).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'
    reach = None  # norms over the whole image
    reach_without_sums = 20  # convolutions, and two windows of which the second lies half a window off
    stride = WINDOW

    def __init__(
        self, width: int = 32, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 2 or width % 2:
            raise ValueError(f'GIFNet: width must be an even number from 2 on, got {width}')
        channels = 2 + 3 * width
        self.features = nn.ModuleList(_conv(2 + i * width, width) for i in range(3))
        self.embed = _conv(channels, 2 * channels)  # of both streams
        self.first, self.second = Block(channels, both=True), Block(channels, both=False)
        self.share = nn.Parameter(torch.ones(1))  # of the first stream in the second one
        self.unembed = _conv(channels, channels)
        self.join = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.expand = nn.Conv2d(channels, 4 * width, 1, bias=False)
        self.decoder = nn.ModuleList(
            _conv(a, b) for a, b in ((4 * width, 2 * width), (2 * width, width), (width, width // 2), (width // 2, 1))
        )

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch; see :meth:`BaseFuser.forward`."""
        height, width = first.shape[-2:]
        features = map_local(self._features, second, first, reach=3, width=2 * self.join.out_channels)
        padded = features
        if exporting() or height % 4 or width % 4:
            padded = _pad(features, (0, round_up(width, 4) - width, 0, round_up(height, 4) - height))
        streams = map_local(self.embed, padded, reach=1, width=2 * self.embed.out_channels).permute(
            0, 2, 3, 1
        )  # (N, H, W, 2C)
        helper, stream = self.first(*streams.chunk(2, dim=3))
        (stream,) = self.second(torch.addcmul(stream, helper, self.share))
        # no activation stands between these convolutions and the pointwise ones behind them, so each pair is one
        of_features, of_stream = self.join.weight.chunk(2, dim=1)
        unembed = (
            torch.tensordot(of_stream[:, :, 0, 0], self.unembed.weight, 1),
            of_stream[:, :, 0, 0] @ self.unembed.bias,
        )
        decode = (
            torch.tensordot(self.decoder[0].weight, self.expand.weight[:, :, 0, 0], ([1], [0]))
            .permute(0, 3, 1, 2)
            .contiguous()
        )
        joined = map_local(
            lambda x: _reflected(x, *unembed), stream.permute(0, 3, 1, 2), reach=1, width=2 * self.join.out_channels
        )
        joined = joined[:, :, :height, :width]
        fused = map_local(
            lambda x, y: self._decode(x, y, of_features, decode),
            features,
            joined,
            reach=4,
            width=4 * self.join.out_channels,
        )
        return FuserOutput(fused, {})

    def _features(self, infrared: Tensor, visible: Tensor) -> Tensor:
        x = channels_last(torch.cat([infrared, visible], dim=1))
        for layer in self.features:
            x = torch.cat([x, F.relu(layer(x))], dim=1)
        return x  # (N, C, H, W)

    def _decode(self, features: Tensor, joined: Tensor, weight: Tensor, first_weight: Tensor) -> Tensor:
        x = F.relu(F.conv2d(features, weight) + joined)
        x = F.relu(_reflected(x, first_weight, self.decoder[0].bias))
        for layer in self.decoder[1:-1]:
            x = F.relu(layer(x))
        return self.decoder[-1](x).tanh() / 2 + 0.5


class Block(BaseModule):
    """Window attention and a feed-forward network in one stream or in two.

    With two, the first stream attends with the queries of the second one. A block with two has windows from the top
    left corner on, one with a single stream has them half a window further up and to the left. The image is reflected
    where windows reach beyond it.

    Args:
        channels: Width C of a stream.
        both: Two streams.
    """

    def __init__(self, channels: int, both: bool) -> None:
        super().__init__()
        self.offset = 0 if both else WINDOW // 2
        self.streams = nn.ModuleList(Stream(channels, queries) for queries in ((False, True) if both else (True,)))
        self.position = nn.Sequential(nn.Linear(2, POSITION_WIDTH), nn.ReLU(), nn.Linear(POSITION_WIDTH, HEADS))
        self.register_buffer('steps', _steps(), persistent=False)

    def forward(self, *streams: Tensor) -> List[Tensor]:
        """Streams (N, H, W, C), the one with its own queries last."""
        height, width = streams[0].shape[1:3]
        ends = [round_up(self.offset + size, WINDOW) - self.offset - size for size in (width, height)]
        border = (self.offset, ends[0], self.offset, ends[1])
        bias = self.position(self.steps.sign() * self.steps.abs().log1p()).permute(2, 0, 1)  # (heads, places, places)
        projected = [layer.project_in(x) for layer, x in zip(self.streams, streams)]
        query = to_windows(projected[-1][0][0], border)
        results = []
        for layer, x, ((*_, key, value), scale, shift) in zip(self.streams, streams, projected):
            attended = _attend(query, to_windows(key, border), to_windows(value, border), bias)
            results.append(layer.project_out(x, from_windows(attended, x.shape, border), value, scale, shift))
        return results


class Stream(BaseModule):
    """What a stream has of its own in a block: a norm over the whole image, projections and a feed-forward network.

    Args:
        channels: Width C.
        queries: It has queries beside keys and values.
    """

    def __init__(self, channels: int, queries: bool) -> None:
        super().__init__()
        self.norm_weight, self.norm_bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.scale, self.shift = nn.Linear(1, channels), nn.Linear(1, channels)
        self.project = nn.Linear(channels, (2 + queries) * channels)
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, padding_mode='reflect')
        self.output = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(inplace=True), nn.Conv2d(2 * channels, channels, 1)
        )

    def project_in(self, x: Tensor) -> Tuple[Sequence[Tensor], Tensor, Tensor]:
        """Queries, where there are, keys and values of x, each (N, H, W, C), and scale and shift of the stream, (N, C).

        The norm is an affine map once its statistics are known, so it is part of the projection.
        """
        variance, mean = picture_variance(x.permute(0, 3, 1, 2))  # (N, 1)
        deviation = torch.sqrt(variance + 1e-5)
        gain = self.norm_weight / deviation
        offset = self.norm_bias - mean * gain  # (N, C)
        weight, bias = self.project.weight * gain[:, None], F.linear(offset, self.project.weight, self.project.bias)
        made = torch.baddbmm(bias[:, None], x.flatten(1, 2), weight.transpose(1, 2)).unflatten(1, x.shape[1:3])
        return made.split(x.shape[3], dim=3), self.scale(deviation), self.shift(mean)

    def project_out(self, x: Tensor, attended: Tensor, value: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Add what attention found, all (N, H, W, C), and the feed-forward network of the sum."""
        attended = attended + self.local(value.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        weight, bias = self.output.weight * scale[:, :, None], self.output.bias * scale + shift
        x = x + torch.baddbmm(bias[:, None], attended.flatten(1, 2), weight.transpose(1, 2)).unflatten(1, x.shape[1:3])
        x = x.permute(0, 3, 1, 2)
        return map_local(lambda part: part + self.mlp(part), x, reach=0, width=4 * x.shape[1]).permute(0, 2, 3, 1)


def to_windows(x: Tensor, border: Border) -> Tensor:
    """(N, H, W, C) to windows (windows, heads, places, C / heads), the image reflected in its border."""
    if exporting() or any(border):
        x = _pad(x.permute(0, 3, 1, 2), border).permute(0, 2, 3, 1)
    x = (
        x.unflatten(3, (HEADS, -1)).unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW))
    )  # (N, H / 8, 8, W / 8, 8, heads, C / heads)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, HEADS, WINDOW**2, x.shape[-1])


def from_windows(windows: Tensor, shape: Sequence[int], border: Border) -> Tensor:
    """The inverse of :func:`to_windows` for an image of a shape (N, H, W, C)."""
    number, height, width, channels = shape
    left, right, top, bottom = border
    rows, columns = (top + height + bottom) // WINDOW, (left + width + right) // WINDOW
    x = windows.view(number, rows, columns, HEADS, WINDOW, WINDOW, -1).permute(0, 1, 4, 2, 5, 3, 6)
    return x.reshape(number, rows * WINDOW, columns * WINDOW, channels)[:, top : top + height, left : left + width]


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention inside windows, (windows, heads, places, C / heads) each, with a bias (heads, places, places)."""
    bias = bias.to(query.dtype).expand(query.shape[0], -1, -1, -1)
    with (
        sdpa_kernel(SDPBackend.MATH) if differentiated_again() else nullcontext()
    ):  # fused kernels have no second derivative
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def _steps() -> Tensor:
    """Rows and columns between the places of a window, (places, places, 2)."""
    places = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing='ij'), dim=-1).flatten(
        0, 1
    )
    return (places[:, None] - places).float()


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode='reflect')


def _pad(x: Tensor, border: Border) -> Tensor:
    return reflect(x, border) if exporting() else F.pad(x, border, mode='reflect')


def _reflected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), weight, bias)
