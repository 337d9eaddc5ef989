"""Layers with gradients of their own against PyTorch's: values, and derivatives of first and second order."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from mmfusion.models.fusers.tim.operations import DilatedDepthwise, conv
from mmfusion.models.layers import PReLU, depthwise_conv3x3

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def both_ways(function, x, weight, layout):
    """Output, gradients, and the gradient of their sum of squares."""
    x = x.clone().contiguous(memory_format=layout).requires_grad_()
    weight = weight.clone().requires_grad_()
    output = function(x, weight)
    first = torch.autograd.grad(output.square().sum(), [x, weight])  # without a graph: the fast formulas
    again = torch.autograd.grad(function(x, weight).pow(3).sum(), [x, weight], create_graph=True)
    second = torch.autograd.grad(sum(gradient.square().sum() for gradient in again), [x, weight])
    return [output, *first, *again, *second]


def rectified(x, weight):
    layer = PReLU().to(x.dtype)
    del layer.weight
    layer.weight = weight
    return layer(x)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('slope', [0.25, 0.0, -0.5, 2.0])
def test_prelu(layout, slope):
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    x[0, 0] = 0.0  # on the edge
    weight = torch.full((1,), slope, dtype=torch.float64)
    for found, expected in zip(both_ways(rectified, x, weight, layout), both_ways(F.prelu, x, weight, layout)):
        torch.testing.assert_close(found, expected)


def test_prelu_in_float32_adds_up_as_exactly_as_torch():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 96, 80).contiguous(memory_format=torch.channels_last)
    grad = torch.randn(x.shape) + 0.1
    exact = (x.double().clamp(max=0) * grad.double()).sum()
    for layer in (PReLU(), nn.PReLU()):
        layer(x).backward(grad)
        assert abs(layer.weight.grad.item() - exact) < 1e-6 * (x * grad).abs().sum()


def test_prelu_elsewhere_is_that_of_torch(monkeypatch):
    from mmfusion.models.layers import prelu

    monkeypatch.setattr(prelu._Rectify, 'apply', None)
    layer, x = PReLU(), torch.randn(3, 4)
    expected = F.prelu(x, layer.weight)
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
    assert torch.equal(torch.jit.trace(layer, x)(x), expected)
    assert torch.equal(torch.func.vmap(layer)(x), expected)
    with pytest.raises(TypeError):
        layer(x)  # this is where ours would run


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dilation, size', [(2, (8, 10)), (2, (7, 9)), (3, (10, 8)), (4, (3, 5)), (1, (6, 5))])
def test_dilated_depthwise(layout, dilation, size):
    x, weight = torch.randn(2, 4, *size, dtype=torch.float64), torch.randn(4, 1, 3, 3, dtype=torch.float64)

    def plain(x, weight):
        return F.conv2d(x, weight, padding=dilation, dilation=dilation, groups=4)

    def ours(x, weight):
        return depthwise_conv3x3(x, weight, dilation=dilation)

    for found, expected in zip(both_ways(ours, x, weight, layout), both_ways(plain, x, weight, layout)):
        torch.testing.assert_close(found, expected)


def test_numerical_derivatives():
    x, weight = (
        torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True),
    )

    def ours(x, weight):
        return depthwise_conv3x3(x, weight, dilation=2)

    assert gradcheck(ours, (x, weight)) and gradgradcheck(ours, (x, weight))
    slope = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    assert gradcheck(rectified, (x, slope)) and gradgradcheck(rectified, (x, slope))


def test_dilation_only_with_full_padding():
    with pytest.raises(ValueError, match='dilation=2, pad_rows=0'):
        depthwise_conv3x3(torch.ones(1, 2, 5, 5), torch.ones(2, 1, 3, 3), 0, 2)


def test_layers_of_tim():
    """float32 as in training; weights keep their names."""
    layer = conv(6, 6, 3, 2, groups=6)
    assert isinstance(layer, DilatedDepthwise) and list(layer.state_dict()) == ['weight']
    assert (
        type(conv(6, 6, 3, 1, groups=6))
        is type(conv(6, 6, 5, 2, groups=6))
        is type(conv(12, 6, 3, 2, groups=6))
        is nn.Conv2d
    )
    plain = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False)
    plain.load_state_dict(copy.deepcopy(layer.state_dict()))
    x = torch.randn(2, 6, 13, 18).contiguous(memory_format=torch.channels_last)
    results = []
    for module in (layer, plain):
        value = x.clone().requires_grad_()
        output = module(value)
        output.square().mean().backward()
        results.append((output, value.grad, module.weight.grad))
        with torch.no_grad():
            torch.testing.assert_close(module(x), output)
    torch.testing.assert_close(*results)
    with torch.autocast('cpu', torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
