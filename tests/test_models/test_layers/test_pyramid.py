"""The Laplacian pyramid against the formulation of Burt and Adelson with zeros and convolutions."""

import pytest
import torch
import torch.nn.functional as F

from mmfusion.models.layers.pyramid import expand, reduce


def smooth(image, scale=1.0):
    taps = image.new_tensor([1, 4, 6, 4, 1]) / 16
    kernel = (torch.outer(taps, taps) * scale).expand(image.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode='replicate'), kernel, groups=image.shape[1])


def expand_with_zeros(image, size):
    image = F.pad(image, (1, 1, 1, 1), mode='replicate')
    spread = image.new_zeros(*image.shape[:2], *(2 * side for side in image.shape[-2:]))
    spread[..., ::2, ::2] = image
    return smooth(spread, 4.0)[..., 2 : 2 + size[0], 2 : 2 + size[1]]


@pytest.mark.parametrize('size', [(4, 5), (17, 30), (16, 33)])
def test_reduce_and_expand_are_those_of_the_paper(size):
    image = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    coarse = reduce(image)
    torch.testing.assert_close(coarse, smooth(image)[..., ::2, ::2])
    torch.testing.assert_close(expand(coarse, size), expand_with_zeros(coarse, size))
    assert torch.autograd.gradcheck(lambda x: expand(reduce(x), size), image, fast_mode=True)
