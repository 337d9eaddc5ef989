import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmfusion.models import losses
from mmfusion.models.losses import BaseFusionLoss, boxes_to_mask
from mmfusion.registry import MODELS

ALL = sorted(
    name
    for name, cls in inspect.getmembers(losses, inspect.isclass)
    if issubclass(cls, BaseFusionLoss) and cls is not BaseFusionLoss
)
OPTIONS = dict(  # what cannot be left out
    LuminanceFusionLoss=dict(criterion=dict(type='L1FusionLoss')),
    TaskFusionLoss=dict(fusion_tasks=dict(night=dict(pixel=dict(type='L1FusionLoss'))), default='night'),
)
BOXES = [torch.tensor([[2.0, 3.0, 9.0, 11.0]]), torch.zeros(0, 4)]


def images(dtype=torch.float32, channels=1):
    return [torch.rand(2, channels, 18, 21, dtype=dtype) for _ in range(3)]


def mask_by_loops(boxes, height, width):
    """Slow twin of boxes_to_mask, as the method's text has it."""
    mask = np.zeros((len(boxes), height, width), bool)
    for n, image_boxes in enumerate(boxes):
        for x1, y1, x2, y2 in image_boxes.tolist():
            x1, x2 = (min(max(int(x), 0), width) for x in (x1, x2))
            y1, y2 = (min(max(int(y), 0), height) for y in (y1, y2))
            mask[n, y1:y2, x1:x2] = True
    return torch.from_numpy(mask)


@pytest.mark.parametrize('name', ALL)
def test_every_loss(name):
    loss = MODELS.build(dict(type=name, **OPTIONS.get(name, {})))
    fused, first, second = images()
    fused.requires_grad_()
    value = loss(fused, first, second, boxes=BOXES, seg=torch.zeros(2, 18, 21, dtype=torch.long))
    assert value.shape == () and value > 0
    value.backward()
    assert fused.grad.abs().sum() > 0
    default = inspect.signature(type(loss)).parameters['loss_weight'].default
    doubled = MODELS.build(dict(type=name, loss_weight=2 * default, **OPTIONS.get(name, {})))
    torch.testing.assert_close(doubled(fused, first, second, boxes=BOXES), 2 * value)
    assert not loss.state_dict()  # nothing that would break loading a checkpoint
    rgb = images(channels=3)
    assert torch.isfinite(loss(*rgb, boxes=BOXES))
    with pytest.raises(ValueError, match=name):
        loss(fused[:, :, :-1], first, second, boxes=BOXES)


@pytest.mark.parametrize('name', ALL)
def test_float32_inside_autocast(name):
    loss = MODELS.build(dict(type=name, **OPTIONS.get(name, {})))
    fused, first, second = images()
    half = fused.bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(half, first, second, boxes=BOXES)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(half.float(), first, second, boxes=BOXES))


@pytest.mark.parametrize('name', ALL)
def test_gradcheck(name):
    """Random images keep clear of the kinks of |x| by far more than the step of 1e-6."""
    loss = MODELS.build(dict(type=name, **OPTIONS.get(name, {})))
    fused, first, second = images(torch.float64)
    crop = [x[:, :, :16, :16] for x in (fused, first, second)]
    crop[0] = crop[0].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: loss(f, crop[1], crop[2], boxes=BOXES), crop[0], atol=1e-6)


def test_sobel_max_with_convolutions():
    fused, first, second = images()
    kx = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).view(1, 1, 3, 3)
    ky = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]]).view(1, 1, 3, 3)

    def s(x):
        return F.conv2d(x, kx, padding=1).abs() + F.conv2d(x, ky, padding=1).abs()

    expected = 10 * (s(fused) - torch.max(s(first), s(second))).abs().mean()
    torch.testing.assert_close(losses.SobelMaxLoss()(fused, first, second), expected)


def test_mask_against_loops():
    generator = torch.Generator().manual_seed(3)
    boxes = []
    for count in (0, 1, 7, 3):
        corner = torch.rand(count, 2, generator=generator) * 50 - 10
        boxes.append(torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 25 - 1], dim=1))
    kept = [box.clone() for box in boxes]
    assert torch.equal(boxes_to_mask(boxes, 31, 43), mask_by_loops(boxes, 31, 43))
    assert all(torch.equal(a, b) for a, b in zip(boxes, kept))  # left as they are


def test_mask_without_any_box():
    assert not boxes_to_mask([torch.zeros(0, 4)] * 2, 5, 6).any()
    assert boxes_to_mask([torch.zeros(0, 4)] * 2, 5, 6).shape == (2, 5, 6)


def test_box_guided_formula():
    fused, first, second = images()
    mask = mask_by_loops(BOXES, 18, 21).unsqueeze(1).float()
    inside = (mask * (fused - torch.max(first, second)).abs()).mean()
    outside = ((1 - mask) * (fused - (first + second) / 2).abs()).mean()
    torch.testing.assert_close(losses.BoxGuidedPixelLoss()(fused, first, second, boxes=BOXES), inside + outside)


def test_boxes_missing():
    loss = losses.BoxGuidedPixelLoss()
    with pytest.raises(ValueError, match='boxes'):
        loss(*images())
    with pytest.raises(ValueError, match='1 box tensors for 2 images'):
        loss(*images(), boxes=BOXES[:1])


@pytest.mark.parametrize(
    'target, expected',
    [
        ('max', lambda a, b: torch.max(a, b)),
        ('mean', lambda a, b: (a + b) / 2),
        ('first', lambda a, b: a),
        ('second', lambda a, b: b),
    ],
)
def test_targets(target, expected):
    fused, first, second = images()
    wanted = expected(first, second)
    torch.testing.assert_close(losses.L1FusionLoss(target)(fused, first, second), (fused - wanted).abs().mean())
    torch.testing.assert_close(losses.MSEFusionLoss(target)(fused, first, second), (fused - wanted).square().mean())
    assert abs(losses.SSIMFusionLoss(target)(wanted, first, second).item()) < 1e-5


def test_unknown_target():
    for cls in (losses.L1FusionLoss, losses.MSEFusionLoss, losses.SSIMFusionLoss):
        with pytest.raises(ValueError, match=f'{cls.__name__}.*median'):
            cls(target='median')


def test_loss_of_luminances_is_that_of_grey_pictures_and_lets_colour_be():
    fused, first, second = images(channels=3)
    of_luminance = MODELS.build(dict(type='LuminanceFusionLoss', criterion=dict(type='SobelMaxLoss'), loss_weight=0.5))
    grey = [0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:] for x in (fused, first, second)]
    torch.testing.assert_close(of_luminance(fused, first, second), 0.5 * losses.SobelMaxLoss()(*grey))
    torch.testing.assert_close(of_luminance(*grey), 0.5 * losses.SobelMaxLoss()(*grey))
    red = torch.tensor([0.9, 0.1, 0.2]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    brighter = MODELS.build(dict(type='LuminanceFusionLoss', criterion=dict(type='MaxIntensityLoss')))
    assert (
        brighter(red, red, red.new_full((1, 3, 16, 16), 0.1))
        == 0
        < losses.MaxIntensityLoss()(red, red, red.new_full((1, 3, 16, 16), 0.15))
    )
    with pytest.raises(TypeError, match='must be a fusion loss, got AverageFuser'):
        MODELS.build(dict(type='LuminanceFusionLoss', criterion=dict(type='AverageFuser')))
