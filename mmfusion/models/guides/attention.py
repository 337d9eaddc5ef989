"""Attention on the features of two detectors that see one scene in two modalities."""

from typing import List, Sequence, Tuple

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmfusion.utils.errors import InputError


class SourceAttention(BaseModule):
    """One attention map per feature level: 1x1 convolution, BN, ReLU, 1x1 convolution to one channel, BN, sigmoid.

    The convolutions serve all levels.

    Args:
        in_channels: Channels of the features.
        channels: Hidden width.
        num_norms: 1 for batch norms that all levels share, else one pair per level.
    """

    def __init__(self, in_channels: int, channels: int, num_norms: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.reduce_norms = ModuleList(nn.BatchNorm2d(channels) for _ in range(num_norms))
        self.score = nn.Conv2d(channels, 1, 1, bias=False)
        self.score_norms = ModuleList(nn.BatchNorm2d(1) for _ in range(num_norms))

    def forward(self, feature: Tensor, level: int) -> Tensor:
        """Attention in [0, 1] of one level, (N, C, h, w) -> (N, 1, h, w)."""
        index = level % len(self.reduce_norms)  # 0 when the levels share
        x = self.reduce_norms[index](self.reduce(feature)).relu_()
        return self.score_norms[index](self.score(x)).sigmoid()


class CrossModalAttention(BaseModule):
    """Exchange between the features of two sources, then one attention map for each.

    At every level both get ``relu(conv1x1(cat(first, second)))`` added, with one convolution for all; each source then
    has its own attention.

    Source: MoE-Fusion (ICCV 2023).

    Args:
        in_channels: Channels C of the features, the same at all levels.
        attention_channels: Hidden width of the attention.
        num_levels: Number of levels; only used when the batch norms are not shared.
        levels_shared_bn: One pair of batch norms for all levels, as published. Its statistics then mix levels of
            different scale, although fusion needs only the finest one; False gives every level its own.
    """

    def __init__(
        self, in_channels: int = 256, attention_channels: int = 128, num_levels: int = 5, levels_shared_bn: bool = True
    ) -> None:
        super().__init__()
        self.in_channels, self.num_levels, self.levels_shared_bn = in_channels, num_levels, levels_shared_bn
        norms = 1 if levels_shared_bn else num_levels
        self.fusion_conv = nn.Conv2d(2 * in_channels, in_channels, 1)
        self.first = SourceAttention(in_channels, attention_channels, norms)
        self.second = SourceAttention(in_channels, attention_channels, norms)

    def forward(
        self, first: Sequence[Tensor], second: Sequence[Tensor]
    ) -> Tuple[List[Tensor], List[Tensor], List[Tensor]]:
        """Exchange and attend.

        Args:
            first: Features of the first source, one (N, C, h, w) per level, finest first. Passing only the finest level
                computes only that.
            second: Same of the second source.

        Returns:
            tuple: The gated features ``f + f * a`` of both sources, and the attention maps, (N, 2, h, w) per level.

        Raises:
            ValueError: Another number of channels, or more levels than there are batch norms.
        """
        if first[0].shape[1] != self.in_channels:
            raise InputError(
                f'the neck of the detector yields {first[0].shape[1]} channels, the guide was built with '
                f'in_channels={self.in_channels}; set it to out_channels of the neck'
            )
        if not self.levels_shared_bn and len(first) > self.num_levels:
            raise InputError(
                f'the detector yields {len(first)} levels, the guide was built with num_levels={self.num_levels}'
            )
        gated_first, gated_second, maps = [], [], []
        for level, (a, b) in enumerate(zip(first, second)):
            common = self.fusion_conv(torch.cat([a, b], dim=1)).relu_()
            a, b = a + common, b + common
            map_a, map_b = self.first(a, level), self.second(b, level)
            gated_first.append(a + a * map_a)
            gated_second.append(b + b * map_b)
            maps.append(torch.cat([map_a, map_b], dim=1))
        return gated_first, gated_second, maps
