"""Memory layout: convolutions keep the layout of their input, of one channel too, and values and gradients stay what
they are.
"""

import pytest
import torch

from mmfusion.models.layers import channels_last


@pytest.mark.parametrize('channels', [1, 2, 3])
def test_convolutions_hand_the_layout_on(channels):
    image = torch.rand(2, channels, 9, 12, requires_grad=True)
    laid_out = channels_last(image)
    assert torch.equal(laid_out, image)
    features = torch.nn.Conv2d(channels, 8, 3, padding=1)(laid_out)
    assert features.is_contiguous(memory_format=torch.channels_last)
    (laid_out * 2).sum().backward()
    assert torch.equal(image.grad, torch.full_like(image, 2.0))


def test_a_part_of_a_larger_image():
    image = torch.rand(2, 3, 9, 12)[:, 1:2, 2:7, 3:10]
    assert torch.equal(channels_last(image), image) and channels_last(image).stride() == (35, 1, 7, 1)
