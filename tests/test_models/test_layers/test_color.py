from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmfusion.models.layers import blend_chroma, restore_color, rgb_to_ycbcr, split_color, ycbcr_to_rgb

LUMINANCE = ('luminance', (1,))
RGB = ('rgb', (3,))
RGB_OR_GREY = ('rgb', (1, 3))


def as_cv(image):
    return image[0].permute(1, 2, 0).numpy()


def test_forward_equals_opencv():
    image = torch.rand(1, 3, 20, 30)
    expected = cv2.cvtColor(as_cv(image), cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    np.testing.assert_allclose(as_cv(rgb_to_ycbcr(image)), expected, atol=1e-6)


def test_backward_is_near_opencv_and_exact():
    image = torch.rand(1, 3, 20, 30)
    ycbcr = rgb_to_ycbcr(image)
    torch.testing.assert_close(ycbcr_to_rgb(ycbcr), image, atol=1e-6, rtol=0)
    # OpenCV's factors of the way back are rounded to three digits
    expected = cv2.cvtColor(np.ascontiguousarray(as_cv(ycbcr)[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    np.testing.assert_allclose(as_cv(ycbcr_to_rgb(ycbcr)), expected, atol=5e-4)


def test_gradients():
    image = torch.rand(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rgb_to_ycbcr, image)
    assert torch.autograd.gradcheck(ycbcr_to_rgb, image)


def test_wrong_channels():
    with pytest.raises(ValueError, match=r'\(N, 3, H, W\)'):
        rgb_to_ycbcr(torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize('colored', ['first', 'second'])
def test_luminance_of_one_color_source(colored):
    color, grey = torch.rand(2, 3, 16, 17), torch.rand(2, 1, 16, 17)
    sources = (color, grey) if colored == 'first' else (grey, color)
    first, second, state = split_color(*sources, *LUMINANCE)
    assert first.shape == second.shape == (2, 1, 16, 17) and state.channels == 3
    own = first if colored == 'first' else second
    torch.testing.assert_close(restore_color(own, state), color, atol=1e-6, rtol=0)  # its own Y brings the picture back
    fused = torch.rand(2, 1, 16, 17)
    back = rgb_to_ycbcr(restore_color(fused, state))
    torch.testing.assert_close(back[:, :1], fused, atol=1e-6, rtol=0)
    torch.testing.assert_close(back[:, 1:], rgb_to_ycbcr(color)[:, 1:], atol=1e-6, rtol=0)


def test_two_grey_sources_stay_grey():
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    for space in (LUMINANCE, RGB_OR_GREY):
        first, second, state = split_color(a, b, *space)
        assert first is a and second is b
        assert restore_color(a, state).shape == (1, 1, 16, 16)
    first, second, state = split_color(a, b, *RGB)
    assert first.shape == second.shape == (1, 3, 16, 16)
    torch.testing.assert_close(restore_color(first, state), a, atol=1e-6, rtol=0)


def test_rgb_fuser_gets_rgb():
    color, grey = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    first, second, state = split_color(color, grey, *RGB_OR_GREY)
    assert torch.equal(first, color) and torch.equal(second, grey.expand(-1, 3, -1, -1))
    assert torch.equal(restore_color(first, state), color)


def test_grey_stored_as_rgb_takes_no_share_in_the_chroma():
    color, grey = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16).expand(-1, 3, -1, -1)
    chroma = split_color(color, grey, *LUMINANCE)[2].chroma
    torch.testing.assert_close(chroma, rgb_to_ycbcr(color)[:, 1:], atol=1e-6, rtol=0)


def test_blend_formula():
    a, b = torch.rand(1, 2, 5, 5), torch.rand(1, 2, 5, 5)
    wa, wb = (a - 0.5).abs(), (b - 0.5).abs()
    torch.testing.assert_close(blend_chroma(a, b), (a * wa + b * wb) / (wa + wb))
    neutral = torch.full((1, 2, 3, 3), 0.5, requires_grad=True)
    blended = blend_chroma(neutral, neutral)
    assert torch.equal(blended, neutral)
    blended.sum().backward()
    assert torch.isfinite(neutral.grad).all()


def test_gradient_reaches_the_fused_luminance():
    fused = torch.rand(1, 1, 16, 16, requires_grad=True)
    state = split_color(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16), *LUMINANCE)[2]
    restore_color(fused, state).sum().backward()
    torch.testing.assert_close(fused.grad, torch.full_like(fused, 3.0))


def test_clear_errors():
    with pytest.raises(ValueError, match='second source'):
        split_color(torch.rand(1, 3, 16, 16), torch.rand(1, 2, 16, 16), *LUMINANCE)
    with pytest.raises(ValueError, match='color_space'):
        split_color(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), 'lab', (3,))


def test_a_fuser_in_place_of_its_color_space_warns():
    first, second = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    with pytest.warns(DeprecationWarning, match="split_color: 'fuser' is called 'color_space, channels' now"):
        found = split_color(first, second, SimpleNamespace(color_space='rgb', channels=(3,)))
    assert (
        torch.equal(found[1], split_color(first, second, *RGB)[1]) and found[2] == split_color(first, second, *RGB)[2]
    )
