"""PlainConvFuser beyond what the sweep over all fusers asks: the rule it starts from, how far it may go, color,
options.
"""

import pytest
import torch

from mmfusion.models.fusers import AverageFuser, FalseColorFuser, LaplacianPyramidFuser, MaximumFuser, PlainConvFuser
from mmfusion.models.layers.color import luminance, rgb_to_ycbcr
from mmfusion.registry import MODELS


def sources(channels=1, size=(19, 34)):
    return torch.rand(2, channels, *size), torch.rand(2, channels, *size)


def scrambled(**options):
    """With weights so large that the network goes to its limits."""
    fuser = PlainConvFuser(**options)
    for parameter in fuser.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    return fuser


@pytest.mark.parametrize('rule, wanted', [('maximum', MaximumFuser), ('average', AverageFuser)])
@pytest.mark.parametrize('depth', [0, 3])
def test_training_starts_from_the_rule(rule, wanted, depth):
    first, second = sources()
    torch.testing.assert_close(
        PlainConvFuser(rule=rule, depth=depth)(first, second).fused, wanted()(first, second).fused
    )


@pytest.mark.parametrize('color_space, channels', [('luminance', 1), ('rgb', 3)])
def test_what_is_added_is_bounded(color_space, channels):
    first, second = sources(channels)
    fuser = scrambled(limit=0.2, color_space=color_space)
    change = fuser(first, second).fused - PlainConvFuser(color_space=color_space)(first, second).fused
    assert 0.15 < change.abs().max() <= 0.2 + 1e-6
    whole = scrambled(rule=None, color_space=color_space)(first, second).fused
    assert whole.min() >= 0 and whole.max() <= 1


def test_coupling_sees_the_rule_with_the_color_of_the_visible_source():
    inputs = dict(first=torch.rand(1, 3, 32, 32), second=torch.rand(1, 1, 32, 32))
    pictures = {}
    for color_space in ('luminance', 'rgb'):
        coupling = MODELS.build(
            dict(type='FusionOnly', fuser=dict(type='PlainConvFuser', color_space=color_space))
        ).eval()
        pictures[color_space] = coupling(inputs, mode='tensor')
    torch.testing.assert_close(pictures['rgb'], pictures['luminance'])
    torch.testing.assert_close(luminance(pictures['rgb']), torch.maximum(luminance(inputs['first']), inputs['second']))
    torch.testing.assert_close(rgb_to_ycbcr(pictures['rgb'])[:, 1:], rgb_to_ycbcr(inputs['first'])[:, 1:])


def test_training_starts_from_false_color():
    first, second = sources(3, (32, 32))
    torch.testing.assert_close(
        PlainConvFuser(rule='false_color', color_space='rgb')(first, second).fused,
        FalseColorFuser()(first, second).fused,
    )


def test_two_grey_sources_give_a_grey_picture():
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='PlainConvFuser', color_space='rgb'))).eval()
    first, second = sources(size=(32, 32))
    torch.testing.assert_close(coupling(dict(first=first, second=second), mode='tensor'), torch.maximum(first, second))


def test_places_far_away_matter_with_depth_alone():
    first, second = sources(size=(64, 64))
    for depth, matters in ((0, False), (3, True)):
        fuser = scrambled(depth=depth, rule=None)
        moved = first.clone()
        moved[..., 40, 40] += 0.5
        difference = fuser.head(fuser._features(torch.cat([first, second], 1))) - fuser.head(
            fuser._features(torch.cat([moved, second], 1))
        )
        assert bool(difference[..., 40, 48].abs().max() > 0) is matters


def test_change_has_its_price_in_training_alone():
    first, second = sources(3, (32, 32))
    fuser = scrambled(color_space='rgb', change_weight=2.0)
    out = fuser(first, second)
    change = (out.fused - PlainConvFuser(color_space='rgb')(first, second).fused).abs().mean()
    torch.testing.assert_close(out.losses, dict(loss_change=2 * change))
    assert fuser.eval()(first, second).losses == {} and scrambled()(*sources()).losses == {}


def test_five_plain_convolutions():
    fuser = PlainConvFuser(width=12, layers=4, depth=0, rule=None)
    assert sum(parameter.numel() for parameter in fuser.parameters()) == 4261


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(width=0), 'width and layers must be at least 1'),
        (dict(depth=-1), 'depth at least 0'),
        (dict(rule='minimum'), "got 'minimum'"),
        (dict(limit=0.0), r'limit must lie in \(0, 1\]'),
        (dict(rule='false_color'), "needs color_space='rgb'"),
        (dict(color_space='lab'), 'color_space must be one of'),
        (dict(change_weight=-1.0), 'change_weight must be at least 0'),
        (dict(change_weight=1.0, rule=None), 'needs a rule'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PlainConvFuser(**options)


def test_training_starts_from_the_pyramid():
    first, second = torch.rand(1, 1, 40, 56), torch.rand(1, 1, 40, 56)
    torch.testing.assert_close(
        PlainConvFuser(rule='pyramid')(first, second).fused, LaplacianPyramidFuser(base='max')(first, second).fused
    )
