import cv2
import numpy as np
import pytest
import torch

from mmfusion.models.fusers import AverageFuser, FalseColorFuser, LaplacianPyramidFuser, MaximumFuser, SourceFuser
from mmfusion.models.layers import restore_color, split_color
from mmfusion.models.layers.color import luminance


def through_color(fuser, first, second):
    a, b, state = split_color(first, second, fuser.color_space, fuser.channels)
    return restore_color(fuser(a, b).fused, state)


def test_visible_only_returns_the_rgb_bit_by_bit():
    visible, infrared = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    assert torch.equal(through_color(SourceFuser('first'), visible, infrared), visible)


def test_infrared_only_is_grey_without_the_chroma_of_the_visible():
    visible, infrared = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    assert torch.equal(through_color(SourceFuser('second'), visible, infrared), infrared.expand(-1, 3, -1, -1))
    assert torch.equal(through_color(SourceFuser('second'), visible[:, :1], infrared), infrared)


def test_unknown_source():
    with pytest.raises(ValueError, match='infrared'):
        SourceFuser('infrared')


def test_average_and_maximum():
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(AverageFuser()(a, b).fused, (a + b) / 2)
    torch.testing.assert_close(AverageFuser(0.25)(a, b).fused, 0.25 * a + 0.75 * b)
    assert torch.equal(MaximumFuser()(a, b).fused, torch.maximum(a, b))
    with pytest.raises(ValueError, match='weight'):
        AverageFuser(1.5)


@pytest.mark.parametrize('size', [(16, 16), (17, 23), (64, 50)])
def test_pyramid_rebuilds_an_image(size):
    image = torch.rand(2, 1, *size)
    torch.testing.assert_close(LaplacianPyramidFuser(6)(image, image).fused, image, atol=1e-5, rtol=0)


def test_pyramid_of_constant_images_is_their_mean():
    a, b = torch.full((1, 1, 31, 45), 0.2), torch.full((1, 1, 31, 45), 0.8)
    torch.testing.assert_close(LaplacianPyramidFuser()(a, b).fused, torch.full_like(a, 0.5), atol=1e-6, rtol=0)


def test_pyramid_against_opencv():
    """Inside the image; at the border OpenCV mirrors without the edge pixel, we repeat it."""
    image = torch.rand(1, 1, 64, 96)
    detail, base = LaplacianPyramidFuser(1).decompose(image)
    array = image[0, 0].numpy()
    down = cv2.pyrDown(array)
    np.testing.assert_allclose(base[0, 0, 2:-2, 2:-2].numpy(), down[2:-2, 2:-2], atol=1e-6)
    expected = array - cv2.pyrUp(down)
    np.testing.assert_allclose(detail[0, 0, 8:-8, 8:-8].numpy(), expected[8:-8, 8:-8], atol=1e-6)


def test_pyramid_keeps_the_stronger_detail():
    flat, textured = torch.full((1, 1, 32, 32), 0.5), torch.full((1, 1, 32, 32), 0.5)
    textured[..., ::2, ::2] += 0.3
    fused = LaplacianPyramidFuser()(flat, textured).fused
    assert fused.std() > 0.9 * textured.std()


def test_pyramid_levels():
    with pytest.raises(ValueError, match='levels'):
        LaplacianPyramidFuser(0)


def test_false_color_tints_what_is_brighter_in_the_second_source_alone():
    visible, infrared = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    plain, tinted = (
        through_color(MaximumFuser(), visible, infrared),
        through_color(FalseColorFuser(), visible, infrared),
    )
    difference = infrared - luminance(visible)
    cold = (difference <= 0).expand_as(plain)
    torch.testing.assert_close(tinted[cold], plain[cold])
    torch.testing.assert_close(
        tinted - plain, difference.clamp_min(0) * torch.tensor([0.24, -0.4, 0]).view(1, 3, 1, 1), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(through_color(FalseColorFuser((0, 0, 0)), visible, infrared), plain)
    with pytest.raises(ValueError, match='red, green and blue'):
        FalseColorFuser((1, 2))


def test_pyramid_over_the_brighter_base():
    flat, dark = torch.full((1, 1, 64, 64), 0.6), torch.full((1, 1, 64, 64), 0.1)
    torch.testing.assert_close(LaplacianPyramidFuser(3, base='max')(flat, dark).fused, flat, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="base must be 'mean' or 'max', got 'sum'"):
        LaplacianPyramidFuser(base='sum')
