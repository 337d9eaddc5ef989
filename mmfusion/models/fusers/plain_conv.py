"""Plain convolutions, at one resolution or in a small U (O. Ronneberger et al., "U-Net", MICCAI 2015), around a fixed
rule.
"""

from typing import List, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import channels_last
from mmfusion.models.layers.color import COLOR_SPACES, blend_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from mmfusion.registry import MODELS
from mmfusion.utils.compat import exporting

from .base import BaseFuser, FuserOutput
from .baselines import FalseColorFuser, LaplacianPyramidFuser

RULES = ('maximum', 'average', 'pyramid', 'false_color')


@MODELS.register_module()
class PlainConvFuser(BaseFuser):
    """A fixed rule, and what a small network adds to it.

    The last convolution is zero at first, so training starts from the rule; what is added is bounded, so pictures stay
    near it. Without a rule the network makes the whole picture (a sigmoid at its end). No normalization, no attention:
    the smallest fuser worth training, and the one to beat.

    With a task network that is to be served, little else than ``change_weight`` keeps a picture natural: its price per
    change leaves the rule alone where the task does not gain. A network with color finds false colors otherwise, a
    green street with pink people.

    Args:
        width: Channels at full resolution; level k of the U has (k + 1) times as many.
        layers: Convolutions at full resolution before the U, at least 1.
        depth: Levels of the U, each half as large as the one above; 0 leaves the convolutions of full resolution alone.
        rule: ``'maximum'`` or ``'average'`` of both luminances, ``'pyramid'`` (:class:`LaplacianPyramidFuser` over the
            brighter base), with ``color_space='rgb'`` also ``'false_color'`` (:class:`FalseColorFuser`); or None.
        limit: Largest change of a pixel, in (0, 1].
        color_space: ``'luminance'``, or ``'rgb'`` for a network that sees color and may change it. The rule then takes
            the color of the sources as it is put back for luminance fusers, and two gray sources give a gray picture.
        change_weight: Weight of the mean absolute change of a channel, the auxiliary loss ``loss_change``; 0 for none.

    Raises:
        ValueError: An option is out of range.

    Examples:
        >>> first, second = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
        >>> PlainConvFuser(rule='average')(first, second).fused.unique().tolist()  # before training: the rule
        [0.5]
    """

    def __init__(
        self,
        width: int = 8,
        layers: int = 1,
        depth: int = 3,
        rule: Optional[str] = 'maximum',
        limit: float = 0.5,
        color_space: str = 'luminance',
        change_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if width < 1 or layers < 1 or depth < 0:
            raise ValueError(
                f'PlainConvFuser: width and layers must be at least 1 and depth at least 0, got {width}, '
                f'{layers} and {depth}'
            )
        if rule is not None and rule not in RULES:
            raise ValueError(f'PlainConvFuser: rule must be one of {RULES} or None, got {rule!r}')
        if not 0 < limit <= 1:
            raise ValueError(f'PlainConvFuser: limit must lie in (0, 1], got {limit}')
        if color_space not in COLOR_SPACES:
            raise ValueError(f'PlainConvFuser: color_space must be one of {COLOR_SPACES}, got {color_space!r}')
        if change_weight < 0 or (change_weight and rule is None):
            raise ValueError(
                f'PlainConvFuser: change_weight must be at least 0, and above 0 needs a rule; '
                f'got {change_weight} with rule={rule!r}'
            )
        if rule == 'false_color' and color_space != 'rgb':
            raise ValueError("PlainConvFuser: rule='false_color' needs color_space='rgb'")
        self.false_color = FalseColorFuser() if rule == 'false_color' else None
        self.pyramid = LaplacianPyramidFuser(base='max') if rule == 'pyramid' else None
        if self.pyramid is not None:
            self.graph_min_size = self.pyramid.graph_min_size
        self.rule, self.limit, self.color_space, self.change_weight = rule, limit, color_space, float(change_weight)
        # each level down: a convolution with a stride and one without; up: an enlargement and a convolution
        self.reach = layers + 1 + 6 * (2**depth - 1)
        if self.pyramid is not None:
            self.reach, self.stride = max(self.reach, self.pyramid.reach), self.pyramid.stride
        channels = 3 if color_space == 'rgb' else 1
        self.channels, self.size_multiple = (channels,), 2**depth
        widths = [width * (level + 1) for level in range(depth + 1)]
        self.stem = nn.Sequential(*(_conv(width if layer else 2 * channels, width) for layer in range(layers)))
        self.down = nn.ModuleList(nn.Sequential(_conv(a, b, 2), _conv(b, b)) for a, b in zip(widths, widths[1:]))
        self.up = nn.ModuleList(_conv(a + b, a) for a, b in zip(widths, widths[1:]))
        self.head = nn.Conv2d(width, channels, 3, padding=1)
        if rule is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def fuse(self, first: Tensor, second: Tensor) -> FuserOutput:
        """Fuse two (N, 1 or 3, H, W) batches in [0, 1], H and W multiples of ``size_multiple``."""
        x = self._features(channels_last(torch.cat([first, second], dim=1) * 2 - 1))
        made = two_rows(x, self.head) if exporting() and self.size_multiple > 1 else self.head(x)
        if self.rule is None:
            return FuserOutput(made.sigmoid(), {})
        change = self.limit * made.tanh()
        losses = (
            dict(loss_change=self.change_weight * change.abs().mean()) if self.training and self.change_weight else {}
        )
        return FuserOutput(self._by_rule(first, second) + change, losses)

    def _features(self, x: Tensor) -> Tensor:
        if exporting() and self.size_multiple > 1:
            return self._features_of_a_graph(x)
        skips: List[Tensor] = [self.stem(x)]
        for level in self.down:
            skips.append(level(skips[-1]))
        x = skips.pop()
        for level in reversed(self.up):
            skip = skips.pop()
            x = level(torch.cat([skip, F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)], dim=1))
        return x

    def _features_of_a_graph(self, x: Tensor) -> Tensor:
        """The same where runtimes waste the least: convolutions of full size have few channels, of which they compute
        sixteen at a time.
        """
        for conv, activation in self.stem:
            x = activation(two_rows(x, conv))
        skips: List[Tensor] = [x]
        for level in self.down:
            skips.append(level(skips[-1]))
        x = skips.pop()
        for level in reversed(self.up):
            skip, conv = skips.pop(), level[0]
            x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
            if skips:
                x = level(torch.cat([skip, x], dim=1))
            else:
                sides = conv.weight.split([skip.shape[1], x.shape[1]], dim=1)
                x = level[1](two_rows(skip, conv, sides[0]) + two_rows(x, conv, sides[1], bias=False))
        return x

    def _by_rule(self, first: Tensor, second: Tensor) -> Tensor:
        if self.color_space == 'luminance':
            return self._rule(first, second)
        if self.false_color is not None:
            return self.false_color(first, second).fused
        a, b = rgb_to_ycbcr(first), rgb_to_ycbcr(second)
        return ycbcr_to_rgb(torch.cat([self._rule(a[:, :1], b[:, :1]), blend_chroma(a[:, 1:], b[:, 1:])], dim=1))

    def _rule(self, first: Tensor, second: Tensor) -> Tensor:
        if self.pyramid is not None:
            return self.pyramid.fuse(first, second).fused
        return torch.maximum(first, second) if self.rule == 'maximum' else (first + second) / 2


def two_rows(x: Tensor, conv: nn.Conv2d, weight: Optional[Tensor] = None, bias: bool = True) -> Tensor:
    """A 3x3 convolution of (N, C, H, W), H even, that makes two rows at once as twice as many channels.

    Args:
        x: (N, C, H, W).
        conv: The convolution.
        weight: A part of its weights, for a part of its channels.
        bias: Whether its bias is added.

    Returns:
        Tensor: (N, C', H, W).
    """
    number, _, height, width = x.shape
    weight = conv.weight if weight is None else weight
    rows = torch.cat([F.pad(weight, (0, 0, 0, 1)), F.pad(weight, (0, 0, 1, 0))])  # (2 C', C, 4, 3)
    made = F.conv2d(x, rows, conv.bias.repeat(2) if bias else None, stride=(2, 1), padding=1)
    made = made.view(number, 2, conv.out_channels, height // 2, width)
    return made.permute(0, 2, 3, 1, 4).reshape(number, conv.out_channels, height, width)


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, stride, 1), nn.LeakyReLU(0.1, inplace=True))
