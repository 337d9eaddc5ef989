"""Strips give what whole images give, and are cut only where nothing learns; a convolution with its norm folded in is
both.
"""

import pytest
import torch
from torch import nn

from mmfusion.models.layers import ConvNorm, local, map_local
from mmfusion.models.layers.single_channel import conv_to_one_channel


@pytest.fixture(autouse=True)
def low_strips(monkeypatch):
    monkeypatch.setattr(local, 'STRIP_BYTES', 1)


@pytest.mark.parametrize('rows', [16, 29, 64])
def test_equals_whole_images(rows):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode='reflect'), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=4, dilation=2)
    ).double()
    first, second = torch.rand(2, 1, rows, 9).double(), torch.rand(2, 2, rows, 9).double()
    heights = []

    def function(a, b):
        heights.append(a.shape[2])
        return network(torch.cat([a, b], dim=1))

    with torch.no_grad():
        expected = function(first, second)
        heights.clear()
        found = map_local(function, first, second, reach=5, width=4)
    torch.testing.assert_close(found, expected, atol=1e-14, rtol=0)
    assert len(heights) == 2 * -(-rows // 10) and max(heights) <= 20
    with torch.no_grad():
        assert (
            not torch.allclose(map_local(function, first, second, reach=2, width=4), expected) or rows <= 4
        )  # too small a reach shows


def test_whole_where_it_learns():
    calls = []
    map_local(lambda x: calls.append(x.shape) or x, torch.rand(2, 1, 40, 9), reach=1, width=1)
    assert calls == [(2, 1, 40, 9)]


@pytest.mark.parametrize('mode', ['zeros', 'reflect'])
def test_folded_norm(mode):
    layer = ConvNorm(3, 4, 3, dilation=2, padding_mode=mode).double()
    x = torch.rand(2, 3, 17, 11).double()
    for _ in range(3):
        layer(x * 2 + 1)  # statistics
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.normal_()
    torch.testing.assert_close(
        layer.train()(x), nn.functional.batch_norm(layer.conv(x), None, None, layer.norm.weight, layer.norm.bias, True)
    )
    layer.eval()
    torch.testing.assert_close(layer(x), layer.norm(layer.conv(x)))
    layer(x).sum().backward()
    assert all(parameter.grad.any() for parameter in layer.parameters())


@pytest.mark.parametrize('split', [(5,), (2, 3), (1, 1, 3)])
def test_one_channel(split):
    x, weight, bias = torch.rand(2, 5, 9, 7).double(), torch.rand(1, 5, 3, 3).double(), torch.rand(1).double()
    expected = nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode='reflect'), weight, bias)
    torch.testing.assert_close(conv_to_one_channel(x.split(split, dim=1), weight, bias), expected, atol=1e-14, rtol=0)
