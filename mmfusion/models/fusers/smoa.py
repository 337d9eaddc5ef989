"""SMoA: two searched encoders, fusion of their features by how much they stand out, a searched decoder.

J. Liu, Y. Wu, Z. Huang, R. Liu, X. Fan, "SMoA: searching a modality-oriented architecture for infrared and visible
image fusion", IEEE Signal Processing Letters 28, 1818-1822, 2021, doi 10.1109/LSP.2021.3109818. Written from a
description of the method, without official code; github.com/JinyuanLiu-CV/SMoA states no license for code and weights,
so none are shipped. ``mmfusion convert smoa`` brings the official weights over.
"""

from typing import Dict, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import SummedCell, channels_last, map_local
from mmfusion.models.layers.conv_act import conv_norm_act, fuses
from mmfusion.models.layers.single_channel import conv_to_one_channel
from mmfusion.models.layers.summed_cell import Step
from mmfusion.models.layers.whole_picture import picture_sum, tile_part
from mmfusion.registry import MODELS
from mmfusion.utils.compat import exporting

from .base import BaseFuser, FuserOutput

CELLS: Dict[str, Tuple[Step, ...]] = dict(
    infrared=(
        (('sep_3', 0), ('attention', 1)),
        (('sep_3', 0), ('sep_3', 2)),
        (('sep_5', 0), ('sep_5', 3)),
        (('dense', 4), ('dense', 3)),
    ),
    visible=(
        (('attention', 1), ('dil_3', 0)),
        (('dil_3', 0), ('sep_3', 2)),
        (('sep_3', 0), ('attention', 2)),
        (('sep_3', 0), ('sep_3', 1)),
    ),
    decoder=(
        (('sep_3', 0), ('dense', 1)),
        (('sep_3', 2), ('sep_3', 0)),
        (('sep_5', 2), ('sep_3', 0)),
        (('dense', 4), ('sep_3', 0)),
    ),
)
ENCODER_REACH, DECODER_REACH = 25, 21  # rows: two cells of up to 12 or 10, and a 3x3 convolution
LEVELS = 256
ROWS = 4  # of an image whose saliency is looked up together, in the cache


@MODELS.register_module()
class SMoA(BaseFuser):
    r"""Encoders of searched operations, different for each source; fusion by saliency of the features; a decoder of
    searched operations.

    Features A and B of an image, all channels together, are cut to 256 levels, and the saliency of a level is its mean
    distance from all others:

    .. math:: F = \left(\tfrac12 + \tfrac12 (w_A - w_B)\right) A + \left(\tfrac12 + \tfrac12 (w_B - w_A)\right) B, \quad
        w_A = s(\lfloor 255 A / \max A \rfloor), \quad s(i) = \sum_j |i - j| h(j) \Big/ \max_k \sum_j |k - j| h(j)

    with the histogram h of the levels; w is 0 where a level is outside 0 to 255, as for negative features. No gradient
    goes through w. The saliency looks at the whole image, and a feature that rounds to the other side of a level
    changes its pixel. The output is linear.

    Args:
        width: Channels of a state in the cells.
        postprocess: See :func:`~mmfusion.models.layers.postprocess`. The published program does ``('truncate', )`` and
            stores JPEG.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: ``width`` is odd or below 2.

    Examples:
        >>> fuser = SMoA(width=4).eval()
        >>> fuser(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30)).fused.shape
        torch.Size([1, 1, 17, 30])
    """

    color_space = 'luminance'
    reach = None  # saliency by the histogram of the image
    reach_without_sums = ENCODER_REACH + DECODER_REACH

    def __init__(
        self, width: int = 16, postprocess: Sequence[str] = (), init_cfg: Optional[Union[dict, list]] = None
    ) -> None:
        super().__init__(postprocess=postprocess, init_cfg=init_cfg)
        if width < 2 or width % 2:
            raise ValueError(f'SMoA: width must be an even number from 2 on, got {width}')
        self.width = width
        self.infrared, self.visible = Encoder(width, CELLS['infrared']), Encoder(width, CELLS['visible'])
        self.decoder = nn.ModuleList(_cell((4 * width, 4 * width), width, CELLS['decoder']) for _ in range(2))
        self.picture = _conv(4 * width, 1, bias=True)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse a visible and an infrared batch; see :meth:`BaseFuser.forward`."""
        encoders = (self.infrared, second), (self.visible, first)
        infrared, visible = (
            map_local(encoder, image, reach=ENCODER_REACH, width=8 * self.width) for encoder, image in encoders
        )
        fused = torch.addcmul((infrared + visible) / 2, _weight_difference(infrared, visible), infrared - visible)
        return FuserOutput(map_local(self._decode, fused, reach=DECODER_REACH, width=8 * self.width), {})

    def _decode(self, features: Tensor) -> Tensor:
        shallow, deep = channels_last(features).chunk(2, dim=1)
        x = self.decoder[0]([shallow], [deep])
        return conv_to_one_channel(self.decoder[1]([deep], x), self.picture.weight, self.picture.bias)


class Encoder(nn.Module):
    """A convolution and two cells, whose features lie side by side in the output."""

    def __init__(self, width: int, steps: Sequence[Step]) -> None:
        super().__init__()
        self.stem = _conv(1, width // 2)
        self.cells = nn.ModuleList(
            [_cell((width // 2, width // 2), width, steps), _cell((width // 2, 4 * width), width, steps)]
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 8 width, H, W)."""
        stem = [
            self.stem(image)
        ]  # in the default layout: features are rounded to 256 levels, and another layout changes their last digits
        shallow = self.cells[0](stem, stem)
        return torch.cat([*shallow, *self.cells[1](stem, shallow)], dim=1)


class Separable(nn.Module):
    """Depthwise and pointwise convolutions, each pair behind a ReLU."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1, pairs: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(_conv(channels, channels, kernel, dilation, channels) for _ in range(pairs))
        self.pointwise = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(pairs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        x = F.relu(x)
        last = len(self.pointwise) - 1
        for number, (depthwise, pointwise) in enumerate(zip(self.depthwise, self.pointwise)):
            activation = None if number == last else nn.ReLU()
            if _is_fast(x):
                x = conv_norm_act(conv_norm_act(x, depthwise), pointwise, activation=activation)
            else:
                x = pointwise(depthwise(x))
                x = x if activation is None else activation(x)
        return x


class Dense(nn.Module):
    """Three densely connected 3x3 convolutions with one PReLU, a third of which is added to the input. 0.333333 is the
    published factor.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(number * channels, channels, 3, bias=False) for number in (1, 2, 3))
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        last, padded = x, []
        for conv in self.convs:
            padded.append(F.pad(last, (1, 1, 1, 1), mode='reflect'))
            last = self.activation(conv(torch.cat(padded, dim=1)))
        return torch.add(x, last, alpha=0.333333)


class Attention(nn.Module):
    """Two 3x3 convolutions with a shortcut around the second, whose result is weighted pixel by pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.score = _conv(channels, channels), _conv(channels, channels), _conv(2, 1)
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        x = self.conv1(x)
        y = self.conv2(self.activation(x))
        weight = self.score(torch.cat([y.amax(1, keepdim=True), y.mean(1, keepdim=True)], dim=1)).sigmoid()
        return self.activation(y * weight + x)


def _is_fast(x: Tensor) -> bool:
    """Whether convolutions may be done the fast way: behind the levels, as it changes the last digits."""
    return fuses(x) and x.is_contiguous(memory_format=torch.channels_last)


def _build(name: str, channels: int) -> nn.Module:
    kind, _, kernel = name.partition('_')
    if kind == 'sep':
        return Separable(channels, int(kernel))
    if kind == 'dil':
        return Separable(channels, int(kernel), dilation=2, pairs=1)
    return dict(dense=Dense, attention=Attention)[kind](channels)


def _cell(channels_in: Tuple[int, int], width: int, steps: Sequence[Step]) -> SummedCell:
    return SummedCell(channels_in, width, steps, _build)


def _conv(
    channels_in: int, channels_out: int, kernel: int = 3, dilation: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in,
        channels_out,
        kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=bias,
        padding_mode='reflect',
    )


@torch.no_grad()
def _weight_difference(first: Tensor, second: Tensor) -> Tensor:
    """(w_A - w_B) / 2 of features (N, C, H, W), for each image, and for the first and the second half of the
    channels.
    """
    if exporting():
        return (_saliency_map(first) - _saliency_map(second)).div(2).view_as(first)
    result = torch.empty_like(first)
    for n in range(len(first)):
        for parts in zip(
            *(x[n].permute(1, 2, 0).chunk(2, dim=2) for x in (first, second, result))
        ):  # (H, W, C / 2) each
            tables = [_saliency(x) for x in parts[:2]]
            for *sources, rows in zip(*(x.split(ROWS) for x in parts)):
                one, other = (
                    table.index_select(0, _levels(x, largest).flatten()) for x, (table, largest) in zip(sources, tables)
                )
                rows.copy_(one.sub_(other).div_(2).view(rows.shape))
    return result


def _saliency_map(features: Tensor) -> Tensor:
    """What :func:`_weight_difference` looks up in the table of :func:`_saliency`, (N, 2, C / 2 * H * W), without a
    branch on values.
    """
    x = features.reshape(features.shape[0], 2, -1)
    largest = x.amax(2, keepdim=True)
    empty = largest == 0
    levels = (x / largest.masked_fill(empty, 1)).mul(LEVELS - 1).int().clamp(-1, LEVELS).add(1)
    levels = levels.masked_fill(empty, 0).long()
    counts = torch.zeros(x.shape[0], 2, LEVELS + 2, dtype=torch.int32, device=x.device)
    counts = counts.scatter_add(2, levels, torch.ones_like(levels, dtype=torch.int32))[..., 1:-1]
    place = torch.arange(LEVELS, device=x.device)
    contrast = counts.double() @ (place - place[:, None]).abs().double()
    table = F.pad(contrast / contrast.amax(2, keepdim=True).clamp(min=1), (1, 1)).to(x.dtype)
    return table.gather(2, levels)


def _saliency(features: Tensor) -> Tuple[Tensor, Tensor]:
    """Saliency of every level of (H, W, C), with zeros for what is outside on both sides, (258,), and the largest
    feature.
    """
    inside = features[part.slices(*features.shape[:2])] if (part := tile_part()) else features
    largest = picture_sum(inside.max(), torch.maximum)
    counts = picture_sum(
        sum(torch.bincount(_levels(rows, largest).flatten(), minlength=LEVELS + 2) for rows in inside.split(ROWS))
    )[1:-1]
    levels = torch.arange(LEVELS, device=features.device)
    contrast = (levels - levels[:, None]).abs().double() @ counts.double()  # exact: sums of integers
    return F.pad(contrast / contrast.max().clamp_min(1), (1, 1)).to(features.dtype), largest


def _levels(features: Tensor, largest: Tensor) -> Tensor:
    """Features over the largest one in 256 steps, cut towards zero, counted from 1; 0 and 257 for what is outside, and
    where nothing is positive.
    """
    if largest == 0:
        return torch.zeros_like(features, dtype=torch.int32)
    # not by a condition: torch.where takes eight times as long
    return (features / largest).mul_(LEVELS - 1).int().clamp_(-1, LEVELS).add_(1)
