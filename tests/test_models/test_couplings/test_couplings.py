"""The parts of a coupling and the rules about them."""

import pytest
import tiny_models
import torch
from mmengine.model import BaseModule

from mmfusion.models.couplings import FusionOnly, JointCoupling
from mmfusion.models.fusers.base import BaseFuser, FuserOutput
from mmfusion.registry import MODELS

AVERAGE = dict(type='AverageFuser')


@MODELS.register_module()
class BlendFuser(BaseFuser):
    """Test double: a learned blend of the sources, shifted by the mean of the guidance."""

    guidance_keys = ('attention',)

    def __init__(self):
        super().__init__()
        self.ratio = torch.nn.Parameter(torch.tensor(0.3))

    def fuse(self, first, second, attention=None):
        fused = self.ratio * first + (1 - self.ratio) * second
        if attention is not None:
            fused = fused + attention.mean()
        return FuserOutput(fused, dict(loss_ratio=self.ratio**2) if self.training else {})


@MODELS.register_module()
class CountingGuide(BaseModule):
    """Test double: counts how it is used."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))
        self.calls = []

    def forward(self, first, second):
        self.calls.append('fuse' if torch.is_grad_enabled() else 'fuse without gradient')
        return dict(attention=(self.scale * torch.ones(first.shape[0], 2, 4, 4)).detach())

    def loss(self, first, second, data_samples):
        self.calls.append('loss')
        return dict(attention=(self.scale * torch.ones(first.shape[0], 2, 4, 4)).detach()), {
            'first.loss_cls': self.scale * 3
        }


def joint(**kwargs):
    options = dict(
        fuser=dict(type='BlendFuser'),
        fusion_loss=dict(l1=dict(type='L1FusionLoss')),
        tasks=dict(det=tiny_models.rtmdet()),
    )
    model = MODELS.build(dict(type='JointCoupling', **{**options, **kwargs}))
    model.init_weights()
    return model


def test_loss_names_and_weights():
    inputs, samples = tiny_models.make_batch()
    model = joint(guide=dict(type='CountingGuide'), guide_weight=0.5, task_weights=dict(det=0.25))
    losses = model(inputs, samples, mode='loss')
    assert set(losses) == {
        'guide.first.loss_cls',
        'fuser.loss_ratio',
        'fusion.loss_l1',
        'det.loss_cls',
        'det.loss_bbox',
    }
    assert losses['guide.first.loss_cls'].item() == pytest.approx(0.15)
    model.task_weights['det'] = 1.0
    full = model(inputs, samples, mode='loss')
    torch.testing.assert_close(sum(full['det.loss_cls']) / 4, sum(losses['det.loss_cls']))


def test_guide_runs_once_in_training_and_only_as_far_as_needed_otherwise():
    inputs, samples = tiny_models.make_batch()
    model = joint(guide=dict(type='CountingGuide'))
    model(inputs, samples, mode='loss')
    assert model.guide.calls == ['loss']
    model.eval()(inputs, samples, mode='predict')
    assert model.guide.calls == ['loss', 'fuse']
    model.guide_weight = 0.0
    losses = model.train()(inputs, samples, mode='loss')
    assert not model.guide.training and model.fuser.training
    assert model.guide.calls[-1] == 'fuse without gradient' and not any(name.startswith('guide') for name in losses)


def test_zero_weight_leaves_a_task_out():
    inputs, samples = tiny_models.make_batch()
    losses = joint(task_weights=dict(det=0.0))(inputs, samples, mode='loss')
    assert set(losses) == {'fuser.loss_ratio', 'fusion.loss_l1'}


def test_several_tasks_at_once():
    inputs, samples = tiny_models.make_batch()
    model = joint(tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()), task_weights=dict(seg=2.0))
    losses = model(inputs, samples, mode='loss')
    assert {'det.loss_cls', 'seg.decode.loss_ce'} <= set(losses)
    results = model.eval()(inputs, samples, mode='predict')
    assert 'pred_instances' in results[0] and results[0].pred_sem_seg.data.shape == (1, 64, 96)


def test_color_is_kept_and_grey_stays_grey():
    inputs, samples = tiny_models.make_batch()
    model = FusionOnly(fuser=AVERAGE)
    image = model(inputs)
    assert image.shape == (2, 3, 64, 96)
    luma = (image * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    first = (inputs['first'] * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(luma, (first + inputs['second']) / 2, atol=1e-5, rtol=0)
    grey, _ = tiny_models.make_batch(first_channels=1)
    assert model(grey).shape == (2, 1, 64, 96)


def test_fused_is_cropped_to_the_image():
    inputs, samples = tiny_models.make_batch()
    samples[1].set_metainfo(dict(img_shape=(50, 70)))
    results = FusionOnly(fuser=AVERAGE).eval()(inputs, samples, mode='predict')
    assert results[0].fused.data.shape == (3, 64, 96) and results[1].fused.data.shape == (3, 50, 70)


def test_train_step_updates_fuser_and_task():
    from mmengine.optim import OptimWrapper

    inputs, samples = tiny_models.make_batch()
    model = joint(guide=dict(type='CountingGuide'))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    raw = dict(
        inputs=dict(
            first=[(x * 255).byte() for x in inputs['first']], second=[(x * 255).byte() for x in inputs['second']]
        ),
        data_samples=samples,
    )
    log = model.train_step(raw, wrapper)
    assert torch.isfinite(log['loss']) and 'det.loss_cls' in log
    changed = {name.split('.')[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {'fuser', 'guide', 'tasks'}


def test_pretrained_weights_of_a_task_load(tmp_path):
    """``init_cfg`` inside the task's config is honored by ``init_weights`` of the whole coupling."""
    source = joint().tasks['det'].network
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'detector.pth')
    cfg = dict(tiny_models.rtmdet(), init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'detector.pth')))
    model = joint(tasks=dict(det=cfg))
    for name, value in source.state_dict().items():
        assert torch.equal(model.tasks['det'].network.state_dict()[name], value), name


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(tasks={}), 'at least one task'),
        (dict(tasks=dict(fuser=tiny_models.rtmdet())), 'cannot name a task'),
        (dict(tasks=dict(gloss=tiny_models.rtmdet())), 'cannot name a task'),  # its accuracy would be added to the loss
        (dict(tasks={'my det': tiny_models.rtmdet()}), 'cannot name a task'),
        (dict(task_weights=dict(seg=1.0)), r"names \['seg'\], but the tasks are \['det'\]"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        joint(**options)


def test_bad_modes():
    inputs, samples = tiny_models.make_batch()
    model = FusionOnly(fuser=AVERAGE)
    with pytest.raises(ValueError, match='mode must be'):
        model(inputs, samples, mode='train')
    with pytest.raises(ValueError, match='needs data_samples'):
        model(inputs, mode='loss')
    assert JointCoupling is MODELS.get('JointCoupling')


@pytest.mark.parametrize('clamp', [False, True])
def test_clamped_images_for_the_tasks(clamp):
    model = joint(clamp=clamp)
    batch, _ = tiny_models.make_batch(2, 32, 32)
    inputs = {name: images.mean(1, keepdim=True) for name, images in batch.items()}
    fused = (inputs['first'] * 5 - 2).requires_grad_()
    model.fuser.forward = lambda *sources, **guidance: FuserOutput(fused, {})
    fusion = model.fuse(inputs)
    assert torch.equal(fusion.fused, fused)  # fusion losses see what the fuser made
    assert torch.equal(fusion.image, fused.clamp(0, 1) if clamp else fused)
    fusion.image.sum().backward()
    inside = ((fused >= 0) & (fused <= 1)).float()
    assert torch.equal(fused.grad, inside if clamp else torch.ones_like(fused)) and 0 < inside.mean() < 1
