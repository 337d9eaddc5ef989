"""One whole meta step against the recorded one of the published program."""

import pytest
import recorded as vectors
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.structures import PixelData
from torch import nn

from mmfusion.models.couplings.steps.meta_update import fuser_steps
from mmfusion.models.couplings.steps.pair_batch import PairBatch, swap_roles
from mmfusion.models.fusers.refusion.conversion import convert_fuser, convert_loss_module
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample


class TinyTask(nn.Module):
    """The reference's segmentation network in the place of a task network; labels may be larger than the image."""

    kind = 'segmentation'

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 5, 1)

    def loss(self, image, data_samples):
        labels = torch.cat([sample.gt_sem_seg.data for sample in data_samples])
        logits = self.c2(F.relu(self.c1(image)))
        return dict(
            loss_ce=F.cross_entropy(
                F.interpolate(logits, labels.shape[-2:], mode='bilinear', align_corners=True), labels
            )
        )


@pytest.fixture(scope='module')
def recorded():
    return vectors.load('tdfusion')['meta_step']


def make_coupling(recorded):
    coupling = MODELS.build(
        dict(
            type='MetaCoupling',
            fuser=dict(type='ReFusion'),
            loss_generator=dict(type='LossGenerationModule'),
            fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
            tasks=dict(seg=dict(type='mmseg.EncoderDecoder', **SEGMENTOR)),
        )
    )
    coupling.tasks['seg'] = TinyTask()
    coupling.fuser.load_state_dict(convert_fuser(recorded['F0']))
    coupling.loss_generator.load_state_dict(convert_loss_module(recorded['G0']))
    coupling.tasks['seg'].load_state_dict(recorded['T0'])
    return coupling.train()


SEGMENTOR = dict(
    data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1),
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8),
    decode_head=dict(
        type='FCNHead', in_channels=64, channels=8, num_convs=1, concat_input=False, num_classes=5, in_index=3
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)


def optimizers(coupling, lr, **extra):
    parts = dict(
        fuser=torch.optim.Adam(coupling.fuser.parameters(), lr=lr),
        tasks=torch.optim.Adam(coupling.tasks.parameters(), lr=lr),
    )
    return OptimWrapperDict(**{name: OptimWrapper(optimizer) for name, optimizer in {**parts, **extra}.items()})


def batches(recorded):
    """The crop, the inner and the outer batch, each followed by its swapped copy."""

    def batch(a, b, labels=None):
        sample = FusionDataSample()
        if labels is not None:
            sample.gt_sem_seg = PixelData(data=recorded[labels])
        return swap_roles(PairBatch(dict(first=recorded[a], second=recorded[b]), [sample]))

    return batch('A1', 'B1'), batch('A1r', 'B1r', 'M1'), batch('A2r', 'B2r', 'M2')


def close(found, wanted, tolerance):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        sampled = isinstance(value, vectors.Sample)
        assert (
            (value.of(found[name]) - value.values) if sampled else (found[name] - value)
        ).abs().max().item() <= tolerance, name


def test_the_recorded_meta_step_is_reproduced(recorded, monkeypatch):
    coupling = make_coupling(recorded)
    wrappers = optimizers(coupling, recorded['lr'])
    crop, inner, outer = batches(recorded)
    seen = {}
    # what the outer problem looks like is seen through the task network, at the moment when its loss is asked for
    task, task_loss = coupling.tasks['seg'], coupling.tasks['seg'].loss

    def watch(image, samples):
        if image.requires_grad:
            seen.update(T1={name: value.clone() for name, value in task.state_dict().items()}, f2=image.detach())
        return task_loss(image, samples)

    monkeypatch.setattr(task, 'loss', watch)
    log = coupling.meta_update(crop, inner, outer, wrappers)

    for name, key in (
        ('meta.loss_fusion', 'loss_f'),
        ('meta.loss_inner', 'loss_t_inner'),
        ('meta.loss', 'loss_t_outer'),
    ):
        assert log[name].item() == pytest.approx(recorded[key], abs=2e-7 * max(1, recorded[key])), name
    close(seen['T1'], recorded['T1'], 2e-7)
    assert (seen['f2'] - recorded['f2']).abs().max() <= 2e-7
    assert log['meta.max_grad'].item() == pytest.approx(recorded['max_grad'], rel=1e-5)
    close(coupling.loss_generator.state_dict(), convert_loss_module(recorded['G1']), 2e-7)
    close(coupling.fuser.state_dict(), convert_fuser(recorded['F0']), 0)
    close(task.state_dict(), recorded['T0'], 0)
    assert not wrappers['tasks'].optimizer.state


class GradientKeeper(torch.optim.SGD):
    """Keeps the gradients that it is given and steps nowhere."""

    @torch.no_grad()
    def step(self):
        self.kept = [parameter.grad.clone() for parameter in self.param_groups[0]['params']]


def test_the_gradient_of_the_loss_module(recorded):
    coupling = make_coupling(recorded)
    keeper = GradientKeeper(coupling.loss_generator.parameters(), lr=1.0)
    coupling.meta_update(*batches(recorded), optimizers(coupling, recorded['lr'], loss_generator=keeper))
    names = [name for name, _ in coupling.loss_generator.named_parameters()]
    close(dict(zip(names, keeper.kept)), convert_loss_module(recorded['G_grad']), 1e-5 * recorded['max_grad'])
    close(coupling.loss_generator.state_dict(), convert_loss_module(recorded['G0']), 0)


def test_the_updated_fuser(recorded):
    coupling = make_coupling(recorded)
    steps = fuser_steps(coupling, batches(recorded)[0], {}, {}, optimizers(coupling, recorded['lr'])['fuser'].optimizer)
    close(dict(zip(steps.names, steps.values)), convert_fuser(recorded['F_prime']), 2e-7)
