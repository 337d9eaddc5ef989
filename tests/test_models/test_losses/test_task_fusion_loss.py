"""TaskFusionLoss: terms by task and epoch, alone and in a coupling."""

import pytest
import torch
from mmengine import Config

from mmfusion.models.layers import gaussian_means
from mmfusion.models.losses import (
    BoxGuidedPixelLoss,
    MEFSSIMLoss,
    SignedGradientLoss,
    SSIMFusionLoss,
    TaskFusionLoss,
    base,
)
from mmfusion.models.losses.focus import focus_mask
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample


def images(size=(2, 3, 35, 41), dtype=torch.float64):
    return [torch.rand(size, dtype=dtype) for _ in range(3)]


@pytest.fixture
def published(repo_dir):
    """The loss of the configs."""
    return MODELS.build(Config.fromfile(repo_dir / 'configs/_base_/fusers/tc_moa_loss.py').fusion_loss.task)


def by_task(**options):
    day, night = (
        dict(pixel=dict(type='L1FusionLoss', target=target, loss_weight=weight))
        for target, weight in (('first', 2.0), ('second', 1.0))
    )
    warmup = dict(day=dict(pixel=dict(type='MSEFusionLoss', target='mean')))
    return MODELS.build(dict(type='TaskFusionLoss', fusion_tasks=dict(day=day, night=night), warmup=warmup, **options))


def test_terms_by_task_and_epoch():
    fused, first, second = images()
    loss = by_task(loss_weight=3.0, warmup_epochs=4)
    late, early = 2 * (fused - first).abs().mean(), (fused - (first + second) / 2).square().mean()
    for epoch in (None, 0, 3, 4, 20, 1):  # starts in epoch 0; backwards, too, as after a resume
        if epoch is not None:
            loss.set_epoch(epoch)
        torch.testing.assert_close(
            loss(fused, first, second, fusion_task='day'), 3 * (late if (epoch or 0) >= 4 else early)
        )
        torch.testing.assert_close(
            loss(fused, first, second, fusion_task='night'), 3 * (fused - second).abs().mean()
        )  # has no warm-up
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
    together = published(*batch, fusion_task='multi_focus')
    assert len(calls) == 1
    apart = sum(term(*batch) for term in published.tasks['multi_focus'].values())
    assert len(calls) == 4
    torch.testing.assert_close(together, apart)
    other = images()
    assert (
        not torch.equal(published(*other, fusion_task='multi_focus'), together) and len(calls) == 5
    )  # nothing stays behind


def test_context_reaches_the_terms():
    loss = TaskFusionLoss(fusion_tasks=dict(night=dict(box=dict(type='BoxGuidedPixelLoss'))), default='night')
    fused, first, second = images()
    boxes = [torch.tensor([[3.0, 4.0, 20.0, 30.0]])] * 2
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
    for options, message in (
        (dict(fusion_tasks={}), 'at least one'),
        (dict(fusion_tasks=dict(day={})), "'day' has no terms"),
        (dict(fusion_tasks=dict(day=term), warmup=dict(night=term)), 'night'),
        (dict(fusion_tasks=dict(day=term), default='night'), 'night'),
        (dict(fusion_tasks=dict(day=term), warmup_epochs=-1), 'negative'),
    ):
        with pytest.raises(ValueError, match=message):
            TaskFusionLoss(**options)
    with pytest.raises(TypeError, match='LossGenerationModule'):
        TaskFusionLoss(fusion_tasks=dict(day=dict(pixel=dict(type='LossGenerationModule'))))
    for cls, options, message in (
        (MEFSSIMLoss, dict(window=4), 'odd'),
        (MEFSSIMLoss, dict(sigma_local=0.0), 'positive'),
        (MEFSSIMLoss, dict(border='reflect'), 'reflect'),
        (SSIMFusionLoss, dict(border='same'), 'same'),
        (SignedGradientLoss, dict(target='both'), 'stronger'),
    ):
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
    for task in published.tasks:
        samples = [FusionDataSample(metainfo=dict(img_shape=(32, 40), fusion_task=task)) for _ in range(2)]
        for epoch in (0, 2):
            coupling.set_epoch(epoch)
            published.set_epoch(epoch)
            found = coupling.fusion_losses(fusion, samples)['fusion.loss_task']
            torch.testing.assert_close(found, published(fusion.fused, fusion.first, fusion.second, fusion_task=task))


@pytest.mark.parametrize('default', [None, 'night'])
def test_a_mixed_batch_is_refused(default):
    """By a coupling whose fuser does not care; the default is for batches without a name, not for some task in a
    mixture.
    """
    loss = dict(
        type='TaskFusionLoss',
        fusion_tasks=dict.fromkeys(('day', 'night'), dict(pixel=dict(type='L1FusionLoss'))),
        default=default,
    )
    coupling = MODELS.build(
        dict(type='FusionOnly', fuser=dict(type='LaplacianPyramidFuser'), fusion_loss=dict(task=loss))
    ).train()
    fusion = coupling.fuse(dict(first=torch.rand(2, 3, 32, 40), second=torch.rand(2, 3, 32, 40)))
    for names in (('day', 'night'), ('day', None)):
        samples = [FusionDataSample(metainfo=dict(fusion_task=name) if name else {}) for name in names]
        with pytest.raises(ValueError, match=r"one task, and this one holds \[.*'day'.*\]: use .*TaskBatchSampler"):
            coupling.fusion_losses(fusion, samples)
    plain = MODELS.build(
        dict(
            type='FusionOnly', fuser=dict(type='LaplacianPyramidFuser'), fusion_loss=dict(own=dict(type='L1FusionLoss'))
        )
    )
    assert set(plain.fusion_losses(fusion, samples)) == {'fusion.loss_own'}  # nothing to name


@pytest.mark.parametrize('loss', ['MEFSSIMLoss', 'SignedGradientLoss'])
def test_terms_alone_beside_others(loss):
    cfg = dict(term=dict(type=loss), pixel=dict(type='L1FusionLoss', target='focus'))
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='LaplacianPyramidFuser'), fusion_loss=cfg)).train()
    inputs = dict(first=torch.rand(1, 3, 33, 40), second=torch.rand(1, 1, 33, 40))
    losses = coupling.fusion_losses(coupling.fuse(inputs), [FusionDataSample(metainfo=dict(img_shape=(33, 40)))])
    assert set(losses) == {'fusion.loss_term', 'fusion.loss_pixel'} and all(
        torch.isfinite(value) and value > 0 for value in losses.values()
    )
