"""Features as images and on a grid: PyTorch's values and gradients, in every layout."""

import pytest
import torch
import torch.nn.functional as F

from mmfusion.models.layers import grid_points, images_and_grid

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def plain(parts, grid):
    x = torch.cat(parts, dim=1)
    return x.split(1), F.interpolate(x, size=grid, mode='bilinear', align_corners=True)


def derivatives(function, parts, grid, graph):
    """Outputs, gradients of a sum of squares, and with a graph those of the gradients' squares."""
    images, points = function(parts, grid)
    loss = sum((index + 1) * image.square().sum() for index, image in enumerate(images)) + points.pow(3).sum()
    first = torch.autograd.grad(loss, parts, create_graph=graph)
    second = torch.autograd.grad(sum(grad.square().sum() for grad in first), parts) if graph else ()
    return [*images, points, *first, *second]


@pytest.mark.parametrize('graph', [False, True])
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(
    'channels, size, grid',
    [((3,), (7, 9), (3, 4)), ((2, 1, 4), (60, 11), (5, 5)), ((3, 2), (5, 6), (1, 1)), ((2, 2), (5, 6), (9, 8))],
)
def test_values_and_gradients(monkeypatch, channels, size, grid, layout, graph):
    monkeypatch.setattr(grid_points, '_LARGE', 0)
    torch.manual_seed(0)
    parts = [torch.randn(2, number, *size, dtype=torch.float64) for number in channels]
    parts = [part.contiguous(memory_format=layout).requires_grad_() for part in parts]
    found, expected = (derivatives(function, parts, grid, graph) for function in (images_and_grid, plain))
    assert len(found) == len(expected)
    for one, two in zip(found, expected):
        torch.testing.assert_close(one, two)


def test_gradients_of_large_batches_are_written_once(monkeypatch):
    monkeypatch.setattr(grid_points, '_LARGE', 0)
    parts = [torch.randn(2, number, 8, 9).contiguous(memory_format=torch.channels_last) for number in (2, 3)]
    parts[0].requires_grad_()  # the other needs none
    images, points = images_and_grid(parts, (2, 2))
    assert 'ImagesAndGrid' in type(points.grad_fn).__name__
    (sum(image.sum() for image in images) + 0 * points.sum()).backward()
    assert parts[0].grad.is_contiguous(memory_format=torch.channels_last) and parts[1].grad is None
    assert torch.equal(parts[0].grad, torch.ones_like(parts[0]))
    with torch.no_grad():
        assert images_and_grid(parts, (2, 2))[1].grad_fn is None


def test_one_output_alone_has_a_gradient(monkeypatch):
    monkeypatch.setattr(grid_points, '_LARGE', 0)
    parts = [torch.randn(2, 3, 8, 9).contiguous(memory_format=torch.channels_last).requires_grad_()]
    grads = []
    for function in (images_and_grid, plain):
        images, points = function(parts, (3, 2))
        grads += torch.autograd.grad(points.square().sum(), parts, retain_graph=True)
        grads += torch.autograd.grad(images[1].square().sum(), parts)
    torch.testing.assert_close(grads[:2], grads[2:])
