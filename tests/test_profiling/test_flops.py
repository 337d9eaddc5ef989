"""Counts of operations: layers that run as one operation in inference count as the chain that they stand for."""

import pytest
import torch
from torch import nn

from mmfusion.models.layers import ConvAct
from mmfusion.profiling.flops import count_flops, flop_counter
from mmfusion.registry import MODELS


@pytest.mark.parametrize('groups', [1, 2])
def test_convolution_with_its_activation(groups):
    layer = ConvAct(nn.Conv2d(4, 6, 3, padding=1, groups=groups), nn.ReLU()).eval()
    x = torch.rand(2, 4, 10, 12)
    with torch.no_grad(), flop_counter() as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 2 * 10 * 12 * 6 * (4 // groups) * 9


def test_published_fuser_has_the_operations_of_its_page():
    """DenseFuse: 27.0 GMAC for a pair of 640x480, so 0.1 of that at a tenth of the pixels."""
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='DenseFuse'), fusion_loss=dict()))
    (part,) = count_flops(coupling.eval(), (120, 256))
    assert part.flops / 2e9 == pytest.approx(2.7, rel=0.02)


def test_product_added_in_place():
    """LRRNet adds so in inference; addmm counts the same."""
    a, b, total = torch.rand(5, 3), torch.rand(3, 7), torch.rand(5, 7)
    with torch.no_grad(), flop_counter() as counter:
        total.addmm_(a, b, beta=0.5)
    assert counter.get_total_flops() == 2 * 5 * 3 * 7
