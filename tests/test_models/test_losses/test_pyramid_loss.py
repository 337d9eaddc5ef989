"""PyramidFusionLoss and the pyramid it stands on."""

import pytest
import torch

from mmfusion.models.fusers import LaplacianPyramidFuser
from mmfusion.models.layers import from_laplacian_pyramid, laplacian_pyramid
from mmfusion.models.losses import PyramidFusionLoss


@pytest.mark.parametrize('size', [(16, 16), (17, 30), (33, 95)])
def test_a_pyramid_gives_the_image_back(size):
    image = torch.rand(2, 3, *size)
    torch.testing.assert_close(from_laplacian_pyramid(laplacian_pyramid(image, 6)), image, atol=1e-6, rtol=0)


def test_the_composite_over_a_mean_base_is_what_the_pyramid_fuser_makes():
    first, second = torch.rand(1, 1, 37, 50), torch.rand(1, 1, 37, 50)
    expected = LaplacianPyramidFuser(4)(first, second).fused.clamp(0, 1)
    torch.testing.assert_close(PyramidFusionLoss(4, 'mean').composite(first, second), expected)


def test_equal_sources_and_gain():
    image = 0.3 + 0.4 * torch.rand(1, 1, 48, 48)
    torch.testing.assert_close(PyramidFusionLoss(3).composite(image, image), image, atol=1e-6, rtol=0)
    *details, base = laplacian_pyramid(image, 3)
    raised = from_laplacian_pyramid([1.2 * detail for detail in details] + [base])
    torch.testing.assert_close(PyramidFusionLoss(3, gain=1.2).composite(image, image), raised.clamp(0, 1))


def test_the_brighter_base_and_the_stronger_detail():
    flat = torch.full((1, 1, 64, 64), 0.7)
    stripes = 0.3 + 0.1 * torch.arange(64.0).remainder(2).expand(1, 1, 64, 64)
    target = PyramidFusionLoss(2).composite(flat, stripes)
    assert abs(target.mean().item() - 0.7) < 0.01 and target[..., 20:40].std() > 0.9 * stripes[..., 20:40].std()


def test_value_and_gradient():
    first, second = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    loss = PyramidFusionLoss(loss_weight=3.0)
    target = loss.composite(first, second)
    fused = (target + 0.1).requires_grad_()
    value = loss(fused, first, second)
    value.backward()
    assert value.item() == pytest.approx(0.3, abs=1e-5)
    torch.testing.assert_close(fused.grad, torch.full_like(fused, 3 / fused.numel()))


def test_options_out_of_range():
    for options, message in (
        (dict(levels=0), 'levels must be at least 1'),
        (dict(gain=0), 'gain positive'),
        (dict(base='first'), 'must be one of'),
    ):
        with pytest.raises(ValueError, match=message):
            PyramidFusionLoss(**options)
