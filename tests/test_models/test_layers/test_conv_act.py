"""Convolution, batch norm and activation as one layer: the same numbers as one after the other, in every mode."""

import pytest
import torch
from torch import nn

from mmfusion.models.layers import ConvAct, ConvNorm, channels_last, conv_act, conv_norm_act
from mmfusion.models.layers.conv_act import fuses

ACTIVATIONS = dict(relu=nn.ReLU(), leaky=nn.LeakyReLU(0.3), prelu=nn.PReLU(init=0.4))


def normed(**arguments):
    """A layer whose norm does something."""
    layer = ConvNorm(3, 5, **arguments)
    for value in (layer.norm.running_mean, layer.norm.bias.data):
        value.normal_()
    for value in (layer.norm.running_var, layer.norm.weight.data):
        value.uniform_(0.5, 2)
    return layer


LAYERS = dict(
    zeros=lambda: nn.Conv2d(3, 5, 3, padding=1),
    reflect=lambda: nn.Conv2d(3, 5, 3, padding=1, padding_mode='reflect'),
    uneven=lambda: nn.Conv2d(3, 5, (1, 3), padding=(0, 1), padding_mode='replicate'),
    dilated=lambda: nn.Conv2d(3, 5, 3, padding=2, dilation=2),
    grouped=lambda: nn.Conv2d(3, 6, 3, groups=3),
    pointwise=lambda: nn.Conv2d(3, 5, 1, bias=False),
    norm=normed,
    norm_without_bias=lambda: normed(kernel=1, bias=False),
    norm_reflect=lambda: normed(padding_mode='reflect', dilation=2, kernel=3),
    norm_per_image=lambda: normed(per_image=True),
)


@pytest.mark.parametrize('activation', ACTIVATIONS)
@pytest.mark.parametrize('layer', LAYERS)
def test_one_operation_or_two(layer, activation):
    layer = LAYERS[layer]().eval()
    both, x = ConvAct(layer, ACTIVATIONS[activation]).eval(), torch.randn(2, 3, 9, 11)
    expected = ACTIVATIONS[activation](layer(x)).detach()
    assert (expected < 0).any() or activation == 'relu'
    for image in x, channels_last(x), x[:, :, 1:-1, 2:]:
        with torch.no_grad():
            fused = both(image)
            assert fuses(image) or not torch.backends.mkldnn.is_available()
        torch.testing.assert_close(fused, both(image), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(both(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('activation', ACTIVATIONS)
@pytest.mark.parametrize('layer', LAYERS)
@pytest.mark.parametrize('split', [(3,), (2, 1), (1, 1, 1)])
def test_parts_side_by_side(layer, activation, split):
    """Parts are read only, in any layout, and give what they give when put together."""
    both = ConvAct(LAYERS[layer]().eval(), ACTIVATIONS[activation]).eval()
    parts = list(torch.randn(2, 3, 9, 11).split(split, dim=1))
    before = torch.cat(parts, dim=1)
    with torch.no_grad():
        got = both.of_parts(parts)
        torch.testing.assert_close(got, both(before), atol=1e-5, rtol=1e-5)
    assert torch.equal(torch.cat(parts, dim=1), before)
    parts[0] = parts[0].clone().requires_grad_()
    torch.testing.assert_close(both.of_parts(parts), got, atol=1e-5, rtol=1e-5)
    assert both.of_parts(parts).requires_grad


@pytest.mark.parametrize('bias', [False, True])
def test_sum_of_convolutions(bias):
    parts = [torch.randn(1, width, 8, 10) for width in (4, 1, 3)]
    weight, offset = torch.randn(5, 8, 3, 3), torch.randn(5) if bias else None
    with torch.no_grad():
        for activation in (None, nn.ReLU()):
            expected = torch.conv2d(torch.cat(parts, dim=1), weight, offset, padding=2, dilation=2)
            expected = expected if activation is None else activation(expected)
            got = conv_act.sum_of_convs(parts, weight, offset, activation, (2, 2), (2, 2))
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_where_it_stays_two():
    x = torch.rand(1, 3, 9, 9)
    assert not fuses(x)  # something may learn
    with torch.no_grad():
        assert fuses(x) == torch.backends.mkldnn.is_available() and not fuses(x.double())
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert not fuses(x)
        with torch.backends.mkldnn.flags(enabled=False):
            assert not fuses(x)


@pytest.mark.parametrize('arguments', [dict(), dict(bias=False), dict(per_image=True)])
def test_norm_in_training_and_after(arguments):
    """In training it is the chain of both; afterwards the chain with running statistics, or with those of each
    image.
    """
    layer, x = normed(**arguments), torch.randn(4, 3, 8, 8)
    chain = nn.Sequential(layer.conv, layer.norm)
    means = layer.norm.running_mean.clone()
    torch.testing.assert_close(layer.train()(x), chain.train()(x))
    assert not torch.equal(means, layer.norm.running_mean)
    if arguments.get('per_image'):
        expected = torch.cat([chain.train()(image[None]) for image in x])
        torch.testing.assert_close(layer.eval()(x), expected, atol=1e-5, rtol=1e-4)
    else:
        torch.testing.assert_close(layer.eval()(x), chain.eval()(x), atol=1e-5, rtol=1e-4)


def test_names_are_those_of_a_chain():
    assert list(ConvAct(ConvNorm(2, 3, bias=False), nn.ReLU()).state_dict()) == list(
        nn.Sequential(ConvNorm(2, 3, bias=False), nn.ReLU()).state_dict()
    )


def test_one_channel_is_laid_out_as_many():
    image = torch.rand(2, 1, 5, 6)
    assert torch.equal(channels_last(image), image) and channels_last(image).stride() == (30, 1, 6, 1)
    assert channels_last(image[..., 1:4]).stride() == (15, 1, 3, 1) and torch.equal(
        channels_last(image[..., 1:4]), image[..., 1:4]
    )


@pytest.mark.parametrize('mode', ['reflect', 'replicate'])
@pytest.mark.parametrize('kernel', [(3, 3), (5, 5), (1, 3), (1, 1)])
def test_borders_of_large_images_are_computed_once_more(monkeypatch, mode, kernel):
    monkeypatch.setattr(conv_act, '_LARGE', 8)
    torch.manual_seed(0)
    padding = tuple(side // 2 for side in kernel)
    conv = nn.Conv2d(3, 5, kernel, padding=padding, padding_mode=mode)
    norm = nn.BatchNorm2d(5).eval()
    norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2.0)
    x = torch.rand(2, 3, 9, 11)
    for parts in ((conv, None, nn.PReLU()), (conv, norm, None), (conv, norm, nn.LeakyReLU(0.1))):
        expected = conv_norm_act(x, *parts).detach()  # with gradients: one by one
        with torch.no_grad():
            torch.testing.assert_close(conv_norm_act(x, *parts), expected)


def test_norms_that_are_not_fixed_stay():
    torch.manual_seed(0)
    conv, norm, x = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), torch.rand(2, 3, 6, 7)
    with torch.no_grad():
        torch.testing.assert_close(conv_norm_act(x, conv, norm), norm(conv(x)))
        norm.eval().image_statistics = True
        assert torch.equal(conv_norm_act(x, conv, norm), norm(conv(x)))
