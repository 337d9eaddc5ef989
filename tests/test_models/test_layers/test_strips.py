"""Depthwise convolution and strips: equal to the plain computation, with first and second derivative."""

import pytest
import torch
import torch.nn.functional as F

from mmfusion.models.layers import RestormerBlock, depthwise_conv3x3, strips, whole_images
from mmfusion.models.layers.restormer import local_features
from mmfusion.models.layers.strips import HALO, IMAGE, ROWS, SHARED, Plan, map_strips


@pytest.mark.parametrize('pad_rows', [0, 1, 2])
def test_depthwise_is_a_grouped_convolution(pad_rows):
    x, weight = torch.rand(2, 5, 7, 9).double().requires_grad_(), torch.randn(5, 1, 3, 3).double().requires_grad_()
    torch.testing.assert_close(
        depthwise_conv3x3(x, weight, pad_rows), F.conv2d(x, weight, padding=(pad_rows, 1), groups=5)
    )
    assert torch.autograd.gradcheck(depthwise_conv3x3, (x, weight, pad_rows), fast_mode=True)
    assert torch.autograd.gradgradcheck(depthwise_conv3x3, (x, weight, pad_rows), fast_mode=True)


def test_depthwise_under_autocast():
    x, weight = torch.rand(1, 4, 6, 6, requires_grad=True), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = depthwise_conv3x3(x, weight)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and x.grad.dtype == weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    'x, weight', [((1, 4, 6, 6), (4, 1, 5, 5)), ((1, 4, 6, 6), (3, 1, 3, 3)), ((4, 6, 6), (4, 1, 3, 3))]
)
def test_depthwise_refuses(x, weight):
    with pytest.raises(ValueError, match='depthwise_conv3x3 needs'):
        depthwise_conv3x3(torch.rand(x), torch.rand(weight))


def example(above, below, x, y, factor, weight, kernel, nothing):
    """One result of every kind but the halo, from one argument of every kind."""
    features = local_features(above, below, x, weight, nothing, kernel, None).tanh() * y * factor.view(-1, 1, 1, 1)
    return features, features.square().sum(dim=(2, 3)), features.sum().view(1)


def arguments():
    shapes = (2, 3, 13, 6), (2, 4, 13, 6), (2,), (4, 3, 1, 1), (4, 1, 3, 3)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


PLAN = Plan(example, (HALO, ROWS, IMAGE, SHARED, SHARED, SHARED), (ROWS, IMAGE, SHARED))


def striped(*values):
    return map_strips(PLAN, *values, None, width=4)


def test_strips_equal_the_whole(monkeypatch):
    values = arguments()
    whole = striped(*values)
    monkeypatch.setattr(strips, 'STRIP_BYTES', 1)  # strips of the least height, 4 rows
    heights = []
    monkeypatch.setattr(
        strips, '_run', lambda plan, height, rest, run=strips._run: heights.append(height) or run(plan, height, rest)
    )
    cut = striped(*values)
    assert heights == [4]
    with whole_images():
        torch.testing.assert_close(striped(*values), whole, atol=0, rtol=0)
    assert heights == [4]
    with torch.no_grad():
        plain = striped(*values)
    for one, other, third in zip(whole, cut, plain):
        torch.testing.assert_close(one, other)
        assert torch.equal(other, third)


def test_derivatives_of_strips(monkeypatch):
    monkeypatch.setattr(strips, 'STRIP_BYTES', 1)
    assert torch.autograd.gradcheck(striped, arguments(), fast_mode=True)
    assert torch.autograd.gradgradcheck(striped, arguments(), fast_mode=True)


def test_arguments_without_gradient(monkeypatch):
    monkeypatch.setattr(strips, 'STRIP_BYTES', 1)
    values = [value.detach().requires_grad_(index == 3) for index, value in enumerate(arguments())]
    (gradient,) = torch.autograd.grad(striped(*values)[0].sum(), values[3], create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), values[3])
    monkeypatch.setattr(strips, 'STRIP_BYTES', 2**40)
    (expected,) = torch.autograd.grad(striped(*values)[0].sum(), values[3], create_graph=True)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(second, torch.autograd.grad(expected.square().sum(), values[3])[0])


def test_torch_func_and_tracing_stay_whole(monkeypatch):
    monkeypatch.setattr(strips, 'STRIP_BYTES', 1)
    block, x = RestormerBlock(8, heads=4).double(), torch.rand(1, 8, 17, 9, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in block.named_parameters()}
    gradients = torch.func.grad(lambda p: torch.func.functional_call(block, p, (x,)).square().sum())(parameters)
    block(x).square().sum().backward()
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


@pytest.mark.parametrize('bias', [False, True])
def test_block_with_biases(monkeypatch, bias):
    block, x = RestormerBlock(8, heads=2, factor=2.66, bias=bias).double(), torch.rand(2, 8, 18, 9, dtype=torch.float64)
    expected = block(x)
    expected.square().sum().backward()
    whole = {name: p.grad.clone() for name, p in block.named_parameters()}
    block.zero_grad()
    monkeypatch.setattr(strips, 'STRIP_BYTES', 1)
    out = block(x)
    out.square().sum().backward()
    torch.testing.assert_close(out, expected)
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name])
        assert parameter.grad.any(), name
