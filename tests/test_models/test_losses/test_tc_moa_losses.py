"""The fusion losses of TC-MoA: reference vectors, slow twins, derivatives and precision."""

import numpy as np
import pytest
import recorded
import torch
import torch.nn.functional as F
from mmengine import Config
from scipy import ndimage

from mmfusion.models.losses import L1FusionLoss, MEFSSIMLoss, SignedGradientLoss, SSIMFusionLoss
from mmfusion.models.losses.base import make_target
from mmfusion.models.losses.focus import focus_mask
from mmfusion.models.losses.gradient import signed_gradient
from mmfusion.registry import MODELS

NAMES = ('visible_infrared', 'multi_exposure', 'multi_focus')  # by the task index of the reference vectors
# terms of the reference and what the published total multiplies them with, by task and phase
TABLE = {
    (0, 'warmup'): dict(pixel=('pixel_loss', 1)),
    (0, 'main'): dict(grad=('max_grad_loss', 1.5), pixel=('max_pixel_loss', 1.5), ssim=('ssim_loss', 2)),
    (1, 'warmup'): dict(pixel=('pixel_loss', 1), ssim=('ssim_loss', 1)),
    (1, 'main'): dict(grad=('max_grad_loss', 1.8), mef_ssim=('MEF_SSIM_loss', 3.6), pixel=('pixel_loss', 1.8)),
    (2, 'main'): dict(grad=('max_grad_loss', 20), pixel=('pixel_loss', 20), ssim=('ssim_loss', 3)),
}
PROMPT_WEIGHT = {(1, 'main'): 1.8}


def images(size=(2, 3, 35, 41), dtype=torch.float64):
    return [torch.rand(size, dtype=dtype) for _ in range(3)]


@pytest.fixture
def published(repo_dir):
    """The loss of the configs."""
    return MODELS.build(Config.fromfile(repo_dir / 'configs/_base_/fusers/tc_moa_loss.py').fusion_loss.task)


# Reference vectors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('case', range(5))
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_terms_and_totals_of_the_reference(published, case, dtype):
    """Float32 on both sides differs by 3e-7 at most: an SSIM is a mean of quotients whose parts are rounded to 6e-8."""
    case = recorded.load('tc_moa')['cases'][case]
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    first, second = ((case[name] * std + mean).clamp(0, 1).to(dtype) for name in 'ab')
    published.set_epoch(case['epoch'])
    phase = case['task'], 'warmup' if case['epoch'] < 2 else 'main'
    terms = published.terms(case['pred'].to(dtype), first, second, task=NAMES[case['task']])
    expected = case['loss']
    for name, (key, weight) in TABLE[phase].items():
        assert terms[name].item() / weight == pytest.approx(expected[key], abs=5e-7), name
    (enc_a, enc_b, dec_a, dec_b) = case['prompts']
    prompt = 0.75 * (enc_a + enc_b - 1).square().mean() + 0.25 * (dec_a + dec_b - 1).square().mean()
    assert prompt.item() == pytest.approx(expected['prompt_loss'], rel=1e-6)
    rest = PROMPT_WEIGHT.get(phase, 1) * prompt.item() + expected['aux_loss'] / (case['epoch'] + 1)
    total = published(case['pred'].to(dtype), first, second, fusion_task=NAMES[case['task']]).item() + rest
    assert total == pytest.approx(expected['loss'], rel=5e-7)


def test_published_weights(published):
    """The published totals multiplied out: gradient and mean-pixel terms carry a factor 3 in themselves."""
    found = {
        phase: {
            task: {name: term.loss_weight for name, term in terms.items()}
            for task, terms in getattr(published, phase).items()
        }
        for phase in ('warmup', 'tasks')
    }
    start = dict(pixel=3, ssim=1)
    assert found['warmup'] == dict(visible_infrared=start, multi_exposure=start, multi_focus=dict(pixel=1, ssim=1))
    expected = dict(
        visible_infrared=dict(grad=4.5, pixel=1.5, ssim=2),
        multi_exposure=dict(grad=5.4, mef_ssim=3.6, pixel=5.4),
        multi_focus=dict(grad=60, pixel=20, ssim=3),
    )
    assert {task: pytest.approx(weights) for task, weights in expected.items()} == found['tasks']
    assert published.warmup_epochs == 2 and published.clip


# Signed gradient ----------------------------------------------------------------------------------------------------


def gradient_by_kernels(image):
    across = torch.tensor([[-0.2, 0, 0.2], [-1, 0, 1], [-0.2, 0, 0.2]], dtype=image.dtype)
    upwards = torch.tensor([[0.2, 1, 0.2], [0, 0, 0], [-0.2, -1, -0.2]], dtype=image.dtype)
    return sum(F.conv2d(image, kernel.expand(1, image.shape[1], 3, 3), padding=1) for kernel in (across, upwards))


@pytest.mark.parametrize('channels', [1, 3])
def test_signed_gradient_against_two_kernels(channels):
    fused, first, second = images((2, channels, 17, 23))
    torch.testing.assert_close(signed_gradient(fused), gradient_by_kernels(fused))
    a, b = gradient_by_kernels(first), gradient_by_kernels(second)
    expected = (gradient_by_kernels(fused) - torch.where(a.abs() >= b.abs(), a, b)).abs().mean()
    torch.testing.assert_close(SignedGradientLoss()(fused, first, second), expected)
    target = torch.maximum(first, second)
    expected = (gradient_by_kernels(fused) - gradient_by_kernels(target)).abs().mean()
    torch.testing.assert_close(SignedGradientLoss('max', loss_weight=2.0)(fused, first, second), 2 * expected)


def test_equal_strength_goes_to_the_first_source():
    first = torch.rand(1, 1, 16, 16)
    assert SignedGradientLoss()(first, first, -first).item() == 0
    assert SignedGradientLoss()(-first, first, -first).item() > 0.1


# Focus --------------------------------------------------------------------------------------------------------------


def focus_by_loops(first, second, patch=16):
    """Slow twin for one image, (C, H, W) arrays."""

    def strength(image):
        grey = image[0] if len(image) == 1 else 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        kernel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        return sum(np.abs(ndimage.correlate(grey, k, mode='constant')) for k in (kernel, kernel.T))

    a, b = strength(first), strength(second)
    mask = np.zeros(a.shape, bool)
    for top in range(0, a.shape[0], patch):
        for left in range(0, a.shape[1], patch):
            place = slice(top, top + patch), slice(left, left + patch)
            mask[place] = a[place].max() >= b[place].max()
    return mask


@pytest.mark.parametrize('size', [(3, 48, 64), (3, 35, 41), (1, 16, 33), (3, 5, 70), (1, 15, 15)])
def test_focus_against_loops(size):
    _, first, second = images((3, *size))
    mask = focus_mask(first, second)
    expected = np.stack([focus_by_loops(a, b) for a, b in zip(first.numpy(), second.numpy())])
    np.testing.assert_array_equal(mask[:, 0].numpy(), expected)
    assert mask.any() and not mask.all() or size[1] * size[2] < 16**2  # more than one patch: both occur
    torch.testing.assert_close(make_target(first, second, 'focus'), torch.where(mask, first, second))
    assert focus_mask(first, first).all()


def test_focus_finds_the_sharp_half():
    sharp = torch.rand(1, 3, 64, 64)
    blurred = F.avg_pool2d(F.pad(sharp, (3, 3, 3, 3), mode='reflect'), 7, stride=1)
    left = torch.arange(64).lt(32).expand(1, 3, 64, 64)
    first, second = torch.where(left, sharp, blurred), torch.where(left, blurred, sharp)
    torch.testing.assert_close(make_target(first, second, 'focus'), sharp)
    for loss in (L1FusionLoss('focus'), SignedGradientLoss('focus'), SSIMFusionLoss('focus', border='zero')):
        assert abs(loss(sharp, first, second).item()) < 1e-5 < 0.01 < loss((first + second) / 2, first, second).item()


def test_focus_has_no_gradient_and_wants_equal_images():
    _, first, second = images()
    assert not focus_mask(first.requires_grad_(), second).requires_grad
    for other in (second[:, :1], second[..., 1:], second[:, :2]):
        with pytest.raises(ValueError, match='focus_mask'):
            focus_mask(first if other.shape[1] != 2 else first[:, :2], other)


# Derivatives and dtypes ---------------------------------------------------------------------------------------------

TERMS = [
    SignedGradientLoss(),
    SignedGradientLoss('focus'),
    L1FusionLoss('focus'),
    SSIMFusionLoss('both', border='zero'),
    SSIMFusionLoss('focus', border='zero'),
    MEFSSIMLoss(),
    MEFSSIMLoss(joint_batch=True),
]


@pytest.mark.parametrize('loss', TERMS, ids=repr)
def test_first_and_second_derivatives(loss):
    """Meta-learning differentiates twice. Random images keep clear of the kinks of |x| by far more than the step of
    1e-6.
    """
    fused, first, second = images((2, 3, 4, 5))
    fused.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: loss(f, first, second), fused, atol=1e-7)
    assert torch.autograd.gradgradcheck(lambda f: loss(f, first, second), fused, atol=1e-6)


@pytest.mark.parametrize('task', NAMES)
@pytest.mark.parametrize('epoch', [0, 2])
def test_published_losses_in_every_precision(published, task, epoch):
    published.set_epoch(epoch)
    exact = images()
    expected = published(*exact, fusion_task=task)
    assert expected.dtype == torch.float64
    single = [x.float() for x in exact]
    torch.testing.assert_close(published(*single, fusion_task=task).double(), expected, rtol=2e-6, atol=0)
    half = [x.bfloat16() for x in exact]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = published(*half, fusion_task=task)
        inside = published(*single, fusion_task=task)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, published(*(x.float() for x in half), fusion_task=task))
    torch.testing.assert_close(inside, published(*single, fusion_task=task))


@pytest.mark.gpu
@pytest.mark.parametrize('task', NAMES)
@pytest.mark.parametrize('epoch', [0, 2])
def test_published_losses_on_a_gpu(published, task, epoch):
    published.set_epoch(epoch)
    batch = images()
    torch.testing.assert_close(
        published.cuda()(*(x.cuda() for x in batch), task=task).cpu(), published.cpu()(*batch, task=task)
    )
