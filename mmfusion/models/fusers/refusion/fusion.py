"""Where the two sources of ReFusion meet."""
from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.models.layers.restormer import apply_attention, channel_attention, depthwise, pointwise


class AttentionFusion(BaseModule):
    """Each source attends with the query of the other; then a feed-forward network gates the sum of both.

    There is no norm in this part.

    Args:
        channels: Width c of each source.
        heads: Heads of the attention.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        hidden = 4 * channels
        for side in ('first', 'second'):
            self.register_parameter(f'temperature_{side}', nn.Parameter(torch.ones(heads, 1, 1)))
            self.add_module(f'qkv_{side}', nn.Conv2d(channels, 3 * channels, 1, bias=False))
            self.add_module(f'qkv_{side}_depthwise', nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False))
            self.add_module(f'project_{side}', nn.Conv2d(channels, channels, 1, bias=False))
            self.add_module(f'expand_{side}', nn.Conv2d(channels, hidden, 1, bias=False))
            self.add_module(f'expand_{side}_depthwise', nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False))
            self.add_module(f'output_{side}', nn.Conv2d(hidden, 2 * channels, 1, bias=False))
        self.gate = nn.Conv2d(2 * channels, 2 * hidden, 1, bias=False)
        self.gate_depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Fuse features of both sources, each (N, c, H, W), into (N, 2c, H, W)."""
        first, second = self._exchange(first, second)
        both = torch.cat([first, second], dim=1)  # (N, 2c, H, W)
        gate_first, gate_second = depthwise(pointwise(both, self.gate), self.gate_depthwise).chunk(2, dim=1)
        hidden_first = F.gelu(gate_first) * depthwise(pointwise(first, self.expand_first), self.expand_first_depthwise)
        hidden_second = F.gelu(gate_second) * depthwise(pointwise(second, self.expand_second), self.expand_second_depthwise)
        return both + pointwise(hidden_first, self.output_first) + pointwise(hidden_second, self.output_second)

    def _exchange(self, first: Tensor, second: Tensor) -> Tuple[Tensor, Tensor]:
        """Attention with the queries swapped, and the shortcut."""
        q_first, k_first, v_first = depthwise(pointwise(first, self.qkv_first), self.qkv_first_depthwise).chunk(3, dim=1)
        q_second, k_second, v_second = depthwise(pointwise(second, self.qkv_second), self.qkv_second_depthwise).chunk(3, dim=1)
        to_first = channel_attention(q_second, k_first, self.temperature_first)
        to_second = channel_attention(q_first, k_second, self.temperature_second)
        return (first + apply_attention(to_first, v_first, self.project_first),
                second + apply_attention(to_second, v_second, self.project_second))
