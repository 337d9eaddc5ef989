"""The fusion losses of TC-MoA: reference vectors, slow twins, outside twins, and the choice of terms by task and epoch."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine import Config
from scipy import ndimage

from mmfusion.evaluation.functional.filters import gaussian_taps
from mmfusion.models.layers import gaussian_means, ssim_map, ssim_maps
from mmfusion.models.losses import BoxGuidedPixelLoss, L1FusionLoss, MEFSSIMLoss, SignedGradientLoss, SSIMFusionLoss, TaskFusionLoss, base
from mmfusion.models.losses.base import make_target
from mmfusion.models.losses.focus import focus_mask
from mmfusion.models.losses.gradient import signed_gradient
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

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
def test_terms_and_totals_of_the_reference(published, shared_dir, case, dtype):
    """Float32 on both sides differs by 3e-7 at most: an SSIM is a mean of quotients whose parts are rounded to 6e-8."""
    case = torch.load(shared_dir / 'reference/tc_moa.pt', weights_only=True)['cases'][case]
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
    total = published(case['pred'].to(dtype), first, second, task=NAMES[case['task']]).item() + rest
    assert total == pytest.approx(expected['loss'], rel=5e-7)


def test_published_weights(published):
    """The published totals multiplied out: gradient and mean-pixel terms carry a factor 3 in themselves."""
    found = {phase: {task: {name: term.loss_weight for name, term in terms.items()} for task, terms in getattr(published, phase).items()}
             for phase in ('warmup', 'tasks')}
    start = dict(pixel=3, ssim=1)
    assert found['warmup'] == dict(visible_infrared=start, multi_exposure=start, multi_focus=dict(pixel=1, ssim=1))
    expected = dict(visible_infrared=dict(grad=4.5, pixel=1.5, ssim=2), multi_exposure=dict(grad=5.4, mef_ssim=3.6, pixel=5.4),
                    multi_focus=dict(grad=60, pixel=20, ssim=3))
    assert {task: pytest.approx(weights) for task, weights in expected.items()} == found['tasks']
    assert published.warmup_epochs == 2 and published.clip


# Signed gradient ----------------------------------------------------------------------------------------------------


def gradient_by_kernels(image):
    across = torch.tensor([[-.2, 0, .2], [-1, 0, 1], [-.2, 0, .2]], dtype=image.dtype)
    upwards = torch.tensor([[.2, 1, .2], [0, 0, 0], [-.2, -1, -.2]], dtype=image.dtype)
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
    torch.testing.assert_close(SignedGradientLoss('max', loss_weight=2.)(fused, first, second), 2 * expected)


def test_equal_strength_goes_to_the_first_source():
    first = torch.rand(1, 1, 16, 16)
    assert SignedGradientLoss()(first, first, -first).item() == 0
    assert SignedGradientLoss()(-first, first, -first).item() > 0.1


# Focus --------------------------------------------------------------------------------------------------------------


def focus_by_loops(first, second, patch=16):
    """Slow twin for one image, (C, H, W) arrays."""

    def strength(image):
        grey = image[0] if len(image) == 1 else 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        kernel = np.array([[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]])
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


# SSIM with zeros around ---------------------------------------------------------------------------------------------


def window_mean(image):
    """Outside twin of the zero-padded Gaussian mean of one (H, W) array, sigma 1.5."""
    return ndimage.correlate(image, np.outer(*[gaussian_taps(11, 1.5)] * 2), mode='constant')


@pytest.mark.parametrize('size', [(2, 3, 24, 27), (1, 1, 16, 7)])
def test_ssim_with_zeros_around_against_scipy(size):
    fused, first, second = images(size)
    values = []
    for other in (first, second):
        for x, y in zip(fused.flatten(0, 1).numpy(), other.flatten(0, 1).numpy()):
            mx, my = window_mean(x), window_mean(y)
            vx, vy, vxy = window_mean(x * x) - mx**2, window_mean(y * y) - my**2, window_mean(x * y) - mx * my
            values.append(((2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean())
    assert SSIMFusionLoss(border='zero')(fused, first, second).item() == pytest.approx(1 - np.mean(values), abs=1e-12)
    assert ssim_map(fused, first, border='zero').shape == fused.shape


@pytest.mark.parametrize('border', ['valid', 'zero'])
def test_maps_of_several_references_are_those_of_each(border):
    fused, first, second = images()
    for found, reference in zip(ssim_maps(fused, (first, second), border=border), (first, second)):
        torch.testing.assert_close(found, ssim_map(fused, reference, border=border))


def test_means_of_a_batch_in_one_pass_are_those_of_each_image():
    a, b, _ = images()
    for border in ('valid', 'zero'):
        both = gaussian_means([a, b], 7, 2., border)
        for image, found in zip((a, b), both):
            torch.testing.assert_close(found, gaussian_means([image], 7, 2., border)[0])


# MEF-SSIM -----------------------------------------------------------------------------------------------------------


def mef_ssim_by_loops(fused, first, second):
    """Slow twin for one image, (C, H, W) arrays: every window cut out of images with zeros around."""
    channels, height, width = fused.shape
    offset = np.arange(11) - 5
    taps = np.exp(-offset**2 / (2 * (11 / 6)**2))
    weights = np.outer(taps, taps) / taps.sum()**2 / channels
    padded = [np.pad(x, ((0, 0), (5, 5), (5, 5))) for x in (fused, first, second)]
    means, structure = np.zeros((3, height, width)), np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            f, a, b = (x[:, i:i + 11, j:j + 11] for x in padded)
            mu = [(weights * x).sum() for x in (f, a, b)]
            # second moments minus products of means: with several channels this is not the variance within each
            variance = [(weights * x * x).sum() - m * m for x, m in zip((f, a, b), mu)]
            k = 1 if variance[1] >= variance[2] else 2
            covariance = (weights * f * (a, b)[k - 1]).sum() - mu[0] * mu[k]
            structure[i, j] = (2 * covariance + 9e-4) / (variance[0] + variance[k] + 9e-4)
            means[:, i, j] = mu
    v = [np.exp(-(m.mean() - 0.5)**2 / 0.08 - (m - 0.5)**2 / 0.08) for m in means[1:]]
    wanted = (v[0] * means[1] + v[1] * means[2]) / (v[0] + v[1])
    luminance = (2 * means[0] * wanted + 1e-4) / (means[0]**2 + wanted**2 + 1e-4)
    return luminance.mean() * structure.mean(), structure.mean()


@pytest.mark.parametrize('channels', [1, 3])
def test_mef_ssim_against_loops(channels):
    fused, first, second = images((2, channels, 17, 20))
    first, second = first.sqrt(), second.square()  # over- and under-exposed
    fused = (fused + first + second) / 3
    arrays = [x.numpy() for x in (fused, first, second)]
    each = [mef_ssim_by_loops(*triple) for triple in zip(*arrays)]
    assert MEFSSIMLoss()(fused, first, second).item() == pytest.approx(1 - np.mean([value for value, _ in each]), abs=1e-12)
    assert MEFSSIMLoss(luminance=False)(fused, first, second).item() == pytest.approx(1 - np.mean([value for _, value in each]), abs=1e-12)
    joint, _ = mef_ssim_by_loops(*(np.concatenate(list(x), axis=1) for x in arrays))
    assert MEFSSIMLoss(joint_batch=True)(fused, first, second).item() == pytest.approx(1 - joint, abs=1e-12)
    assert abs(joint - np.mean([value for value, _ in each])) > 1e-4  # the option changes something
    alone = [x[:1] for x in (fused, first, second)]
    torch.testing.assert_close(MEFSSIMLoss(joint_batch=True)(*alone), MEFSSIMLoss()(*alone))


def exposures():
    """A smooth scene with texture, over-exposed (bright parts burnt out) and under-exposed (dark parts lost)."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 40), indexing='ij')
    scene = (0.1 + 0.8 * x + 0.1 * torch.sin(40 * y) * torch.sin(35 * x)).expand(1, 3, 40, 40)
    return scene, (2.2 * scene).clamp(0, 1), (1.6 * (scene - 0.4)).clamp(0, 1)


def test_mef_ssim_prefers_what_shows_both_exposures():
    scene, over, under = exposures()
    loss = MEFSSIMLoss()
    value = loss(scene, over, under)
    assert value < loss(over, over, under) and value < loss(under, over, under)
    fused = ((over + under) / 2).requires_grad_()
    start = loss(fused, over, under).item()
    optimizer = torch.optim.Adam([fused], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss(fused, over, under).backward()
        optimizer.step()
    assert loss(fused, over, under).item() < 0.6 * start


# Derivatives and dtypes ---------------------------------------------------------------------------------------------

TERMS = [
    SignedGradientLoss(), SignedGradientLoss('focus'), L1FusionLoss('focus'), SSIMFusionLoss('both', border='zero'),
    SSIMFusionLoss('focus', border='zero'), MEFSSIMLoss(), MEFSSIMLoss(joint_batch=True)
]


@pytest.mark.parametrize('loss', TERMS, ids=repr)
def test_first_and_second_derivatives(loss):
    """Meta-learning differentiates twice. Random images keep clear of the kinks of |x| by far more than the step of 1e-6."""
    fused, first, second = images((2, 3, 4, 5))
    fused.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: loss(f, first, second), fused, atol=1e-7)
    assert torch.autograd.gradgradcheck(lambda f: loss(f, first, second), fused, atol=1e-6)


@pytest.mark.parametrize('task', NAMES)
@pytest.mark.parametrize('epoch', [0, 2])
def test_published_losses_in_every_precision(published, task, epoch):
    published.set_epoch(epoch)
    exact = images()
    expected = published(*exact, task=task)
    assert expected.dtype == torch.float64
    single = [x.float() for x in exact]
    torch.testing.assert_close(published(*single, task=task).double(), expected, rtol=2e-6, atol=0)
    half = [x.bfloat16() for x in exact]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = published(*half, task=task)
        inside = published(*single, task=task)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, published(*(x.float() for x in half), task=task))
    torch.testing.assert_close(inside, published(*single, task=task))


@pytest.mark.gpu
@pytest.mark.parametrize('task', NAMES)
@pytest.mark.parametrize('epoch', [0, 2])
def test_published_losses_on_a_gpu(published, task, epoch):
    published.set_epoch(epoch)
    batch = images()
    torch.testing.assert_close(published.cuda()(*(x.cuda() for x in batch), task=task).cpu(), published.cpu()(*batch, task=task))


# TaskFusionLoss -----------------------------------------------------------------------------------------------------


def by_task(**options):
    day, night = (dict(pixel=dict(type='L1FusionLoss', target=target, loss_weight=weight)) for target, weight in (('first', 2.), ('second', 1.)))
    warmup = dict(day=dict(pixel=dict(type='MSEFusionLoss', target='mean')))
    return MODELS.build(dict(type='TaskFusionLoss', tasks=dict(day=day, night=night), warmup=warmup, **options))


def test_terms_by_task_and_epoch():
    fused, first, second = images()
    loss = by_task(loss_weight=3., warmup_epochs=4)
    late, early = 2 * (fused - first).abs().mean(), (fused - (first + second) / 2).square().mean()
    for epoch in (None, 0, 3, 4, 20, 1):  # starts in epoch 0; backwards, too, as after a resume
        if epoch is not None:
            loss.set_epoch(epoch)
        torch.testing.assert_close(loss(fused, first, second, task='day'), 3 * (late if (epoch or 0) >= 4 else early))
        torch.testing.assert_close(loss(fused, first, second, task='night'), 3 * (fused - second).abs().mean())  # has no warm-up
    assert not loss.state_dict()
    torch.testing.assert_close(by_task(default='night')(fused, first, second), (fused - second).abs().mean())
    torch.testing.assert_close(by_task(default='night')(fused, first, second, task='day'), early)


def test_clipping_and_what_it_costs():
    fused, first, second = images()
    fused = fused * 3 - 1
    outside = (fused < 0) | (fused > 1)
    for clip in (True, False):
        value = fused.clone().requires_grad_()
        loss = by_task(clip=clip)(value, first, second, task='night')
        seen = fused.clamp(0, 1) if clip else fused
        torch.testing.assert_close(loss, (seen - second).abs().mean())
        loss.backward()
        assert (value.grad[outside] != 0).any() != clip and (value.grad[~outside] != 0).all()


def test_a_target_is_made_once_for_all_terms(published, monkeypatch):
    calls = []
    monkeypatch.setattr(base, 'focus_mask', lambda *sources: calls.append(1) or focus_mask(*sources))
    batch = images()
    published.set_epoch(2)
    together = published(*batch, task='multi_focus')
    assert len(calls) == 1
    apart = sum(term(*batch) for term in published.tasks['multi_focus'].values())
    assert len(calls) == 4
    torch.testing.assert_close(together, apart)
    other = images()
    assert not torch.equal(published(*other, task='multi_focus'), together) and len(calls) == 5  # nothing stays behind


def test_context_reaches_the_terms():
    loss = TaskFusionLoss(tasks=dict(night=dict(box=dict(type='BoxGuidedPixelLoss'))), default='night')
    fused, first, second = images()
    boxes = [torch.tensor([[3., 4., 20., 30.]])] * 2
    expected = BoxGuidedPixelLoss()(fused, first, second, boxes=boxes)
    torch.testing.assert_close(loss(fused, first, second, boxes=boxes), expected)
    with pytest.raises(ValueError, match='boxes'):
        loss(fused, first, second)


def test_errors_say_what_to_do():
    batch = images()
    with pytest.raises(ValueError, match=r"'dawn'.*\['day', 'night'\]"):
        by_task()(*batch, task='dawn')
    with pytest.raises(ValueError, match='FusionTasksDataset.*default'):
        by_task()(*batch)
    term = dict(pixel=dict(type='L1FusionLoss'))
    for options, message in ((dict(tasks={}), 'at least one'), (dict(tasks=dict(day={})), "'day' has no terms"),
                             (dict(tasks=dict(day=term), warmup=dict(night=term)), 'night'), (dict(tasks=dict(day=term), default='night'), 'night'),
                             (dict(tasks=dict(day=term), warmup_epochs=-1), 'negative')):
        with pytest.raises(ValueError, match=message):
            TaskFusionLoss(**options)
    with pytest.raises(TypeError, match='LossGenerationModule'):
        TaskFusionLoss(tasks=dict(day=dict(pixel=dict(type='LossGenerationModule'))))
    for cls, options, message in ((MEFSSIMLoss, dict(window=4), 'odd'), (MEFSSIMLoss, dict(sigma_local=0.), 'positive'),
                                  (MEFSSIMLoss, dict(border='reflect'), 'reflect'), (SSIMFusionLoss, dict(border='same'), 'same'),
                                  (SignedGradientLoss, dict(target='both'), 'stronger')):
        with pytest.raises(ValueError, match=message):
            cls(**options)
    with pytest.raises(ValueError, match='reflect'):
        gaussian_means(batch, border='reflect')


# In a coupling ------------------------------------------------------------------------------------------------------


def test_in_a_coupling_by_the_task_of_the_batch(published, repo_dir):
    cfg = Config.fromfile(repo_dir / 'configs/_base_/fusers/tc_moa_loss.py').fusion_loss
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='LaplacianPyramidFuser'), fusion_loss=cfg)).train()
    inputs = dict(first=torch.rand(2, 3, 32, 40), second=torch.rand(2, 3, 32, 40))
    fusion = coupling.fuse(inputs)
    for task in NAMES:
        samples = [FusionDataSample(metainfo=dict(img_shape=(32, 40), fusion_task=task)) for _ in range(2)]
        for epoch in (0, 2):
            coupling.set_epoch(epoch)
            published.set_epoch(epoch)
            found = coupling.fusion_losses(fusion, samples)['fusion.loss_task']
            torch.testing.assert_close(found, published(fusion.fused, fusion.first, fusion.second, task=task))


@pytest.mark.parametrize('loss', ['MEFSSIMLoss', 'SignedGradientLoss'])
def test_terms_alone_beside_others(loss):
    cfg = dict(term=dict(type=loss), pixel=dict(type='L1FusionLoss', target='focus'))
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='LaplacianPyramidFuser'), fusion_loss=cfg)).train()
    inputs = dict(first=torch.rand(1, 3, 33, 40), second=torch.rand(1, 1, 33, 40))
    losses = coupling.fusion_losses(coupling.fuse(inputs), [FusionDataSample(metainfo=dict(img_shape=(33, 40)))])
    assert set(losses) == {'fusion.loss_term', 'fusion.loss_pixel'} and all(torch.isfinite(value) and value > 0 for value in losses.values())
