"""Fusion module of ReFusion."""

from typing import List, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.models.layers.restormer import (
    add_attended,
    attention_from_gram,
    attention_matrix,
    gram,
    local_features,
    local_parts,
    pointwise,
)
from mmfusion.models.layers.strips import HALO, IMAGE, ROWS, SHARED, Plan, map_strips
from mmfusion.models.layers.whole_picture import part_mask, picture_sum

SIDES = ('first', 'second')


class AttentionFusion(BaseModule):
    """Each source attends with the query of the other; then a feed-forward network gates both.

    There is no norm in this part. It is computed strip by strip, as :mod:`mmfusion.models.layers.restormer` is.

    Args:
        channels: Width c of each source.
        heads: Heads of the attention.
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        hidden = 4 * channels
        for side in SIDES:
            self.register_parameter(f'temperature_{side}', nn.Parameter(torch.ones(heads, 1, 1)))
            self.add_module(f'qkv_{side}', nn.Conv2d(channels, 3 * channels, 1, bias=False))
            self.add_module(
                f'qkv_{side}_depthwise',
                nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False),
            )
            self.add_module(f'project_{side}', nn.Conv2d(channels, channels, 1, bias=False))
            self.add_module(f'expand_{side}', nn.Conv2d(channels, hidden, 1, bias=False))
            self.add_module(
                f'expand_{side}_depthwise', nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
            )
            self.add_module(f'output_{side}', nn.Conv2d(hidden, 2 * channels, 1, bias=False))
        self.gate = nn.Conv2d(2 * channels, 2 * hidden, 1, bias=False)
        self.gate_depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Fuse features of both sources, each (N, c, H, W), into (N, 2c, H, W)."""
        c = first.shape[1]
        mask = part_mask(first)
        plan = Plan(_attend, (HALO, HALO, SHARED if mask is None else ROWS, *[SHARED] * 4), (IMAGE, ROWS, ROWS))
        products, value_first, value_second = map_strips(
            plan, first, second, mask, *self._weights('qkv_{}', 'qkv_{}_depthwise'), width=6 * c
        )
        products = picture_sum(products)
        # channels of the products: query and key of the first source, query and key of the second
        attention_first = attention_from_gram(products, 2 * c, c, c, self.temperature_first)
        attention_second = attention_from_gram(products, 0, 3 * c, c, self.temperature_second)
        matrix_first = attention_matrix(attention_first, self.project_first.weight)
        matrix_second = attention_matrix(attention_second, self.project_second.weight)
        plan = Plan(_merge, (*[HALO] * 4, IMAGE, IMAGE, *[SHARED] * 8), (ROWS,))
        return map_strips(
            plan,
            first,
            second,
            value_first,
            value_second,
            matrix_first,
            matrix_second,
            self.gate.weight,
            self.gate_depthwise.weight,
            *self._weights('expand_{}', 'expand_{}_depthwise', 'output_{}'),
            width=16 * c,
        )[0]

    def _weights(self, *names: str) -> List[Tensor]:
        """Weights of the named layers of the first source, then of the second."""
        return [self.get_submodule(name.format(side)).weight for side in SIDES for name in names]


def _attend(above: int, below: int, first: Tensor, second: Tensor, mask: Optional[Tensor], *weights: Tensor) -> tuple:
    """Products of both sources' queries and keys (N, 4c, 4c), and their values."""
    c = first.shape[1]
    one, value_first = local_parts(above, below, first, (2 * c, c), weights[0], None, weights[1], None)
    other, value_second = local_parts(above, below, second, (2 * c, c), weights[2], None, weights[3], None)
    return gram(one, other, mask=mask), value_first, value_second


def _merge(
    above: int,
    below: int,
    first: Tensor,
    second: Tensor,
    value_first: Tensor,
    value_second: Tensor,
    matrix_first: Tensor,
    matrix_second: Tensor,
    gate: Tensor,
    gate_depthwise: Tensor,
    *weights: Tensor,
) -> tuple:
    """Attended sources, then the gated feed-forward network; ``weights`` are expand, its depthwise one and output of
    each source.
    """
    sources = [add_attended(first, value_first, matrix_first), add_attended(second, value_second, matrix_second)]
    both = torch.cat(sources, dim=1)  # (N, 2c, H, W)
    gates = local_parts(above, below, both, [len(gate) // 2] * 2, gate, None, gate_depthwise, None)
    result = both[:, :, above : both.shape[2] - below]
    for source, opened, (expand, depthwise, output) in zip(sources, gates, (weights[:3], weights[3:])):
        result = result + pointwise(
            F.gelu(opened) * local_features(above, below, source, expand, None, depthwise, None), output
        )
    return (result,)
