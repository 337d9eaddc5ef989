"""What published programs do to a picture: steps by hand, and where a coupling takes them."""

import pytest
import torch

from mmfusion.models.couplings import FusionOnly
from mmfusion.models.layers import postprocess


def test_steps_by_hand():
    picture = torch.tensor([[0.2, 0.6], [0.4, 0.4], [0.2, 0.3]]).view(1, 3, 1, 2)
    gray = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.2
    torch.testing.assert_close(postprocess(picture, ['gray'])[0, :, 0, 0], torch.full((3,), gray))
    torch.testing.assert_close(
        postprocess(picture, ['stretch'])[0, :, 0], torch.tensor([[0.0, 1.0], [0.5, 0.5], [0.0, 0.25]])
    )
    assert (postprocess(picture, ['truncate']) * 255).round()[0, :, 0].tolist() == [[51, 153], [102, 102], [51, 76]]
    assert postprocess(picture, ()) is picture


def test_each_picture_is_stretched_by_itself():
    pictures = torch.rand(3, 1, 4, 5) * 0.3 + 0.1
    stretched = postprocess(pictures, ['stretch'])
    assert torch.equal(stretched.amin((1, 2, 3)), torch.zeros(3)) and torch.equal(
        stretched.amax((1, 2, 3)), torch.ones(3)
    )


def test_eight_bits_stay_and_what_lies_between_is_cut():
    values = torch.arange(256.0).view(1, 1, 16, 16) / 255
    assert torch.equal((postprocess(values, ['truncate']) * 255).round(), (values * 255).round())
    assert torch.equal((postprocess(values + 0.9 / 255, ['truncate']) * 255).round(), (values * 255).round())


def test_unknown_steps_are_named():
    with pytest.raises(ValueError, match="steps out of .*, got 'blur'"):
        postprocess(torch.rand(1, 1, 2, 2), ['gray', 'blur'])


def test_a_coupling_does_so_in_eval_mode_alone():
    first, second = torch.rand(2, 3, 20, 24), torch.rand(2, 1, 20, 24)
    plain = FusionOnly(fuser=dict(type='DenseFuse'))
    odd = FusionOnly(fuser=dict(type='DenseFuse', postprocess=('gray', 'stretch', 'truncate')))
    odd.load_state_dict(plain.state_dict())
    inputs = dict(first=first, second=second)
    with torch.no_grad():
        assert torch.equal(plain.train()(inputs), odd.train()(inputs))
        fused = plain.eval().fuse(inputs).fused.expand(-1, 3, -1, -1)
        expected = postprocess(fused.clamp(0, 1), ('gray', 'stretch', 'truncate'))
        torch.testing.assert_close(odd.eval()(inputs), expected)
    assert torch.equal(expected[:, 0], expected[:, 2]) and expected.amax() == 1


def test_gray_is_the_luminance_that_the_network_made():
    """Strong color beside a dark luminance would leave [0, 1], and what clamping makes of it is brighter."""
    coupling = FusionOnly(fuser=dict(type='AverageFuser', weight=0.0)).eval()
    coupling.fuser.postprocess = ('gray',)
    red, dark = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 16, 16), torch.full((1, 1, 16, 16), 0.05)
    with torch.no_grad():
        torch.testing.assert_close(coupling(dict(first=red, second=dark)), dark.expand(1, 3, -1, -1))
