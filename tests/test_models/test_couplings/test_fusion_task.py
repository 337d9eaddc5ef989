"""Batches that name a fusion task: who is told, who is not, and what is refused."""
import pytest
import tiny_models
import torch
from mmengine.optim import OptimWrapper
from tiny_meta import data

from mmfusion.apis import FusionInferencer
from mmfusion.models.couplings.steps.pair_batch import PairBatch, random_crop, resize_batch, swap_roles
from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.registry import MODELS
from mmfusion.utils import UserError


@MODELS.register_module()
class ByTaskFuser(BaseFuser):
    """Test double: a learned multiple of the first or of the second source, by task."""

    guidance_keys = ('task', 'shift')

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(1.0))
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def fuse(self, first, second, task='first', shift=0.0):
        return FuserOutput(self.gain * dict(first=first, second=second)[task] + shift, {})


@MODELS.register_module()
class ByTaskLoss(torch.nn.Module):
    """Test double: 1 for the first task and 2 for the second, so that the log tells."""

    def forward(self, fused, first, second, task='none', **context):
        return fused.mean() * 0 + dict(none=0., first=1., second=2.)[task]


def named(*names):
    batch = data(0)
    for sample, name in zip(batch['data_samples'], names):
        if name:
            sample.set_metainfo(dict(fusion_task=name))
    return batch


def coupling(kind='FusionOnly', **options):
    return MODELS.build(dict(type=kind, fuser=dict(type='ByTaskFuser'), fusion_loss=dict(own=dict(type='ByTaskLoss')), **options))


@pytest.mark.parametrize('task, value', [('first', 1.), ('second', 2.), (None, 0.)])
def test_task_reaches_fuser_and_loss(task, value):
    model = coupling()
    batch = named(task, task)
    batch = model.data_preprocessor(batch, True)
    inputs, samples = batch['inputs'], batch['data_samples']
    assert inputs.get('task') == task
    fusion = model.fuse(inputs)
    assert torch.equal(fusion.fused, fusion.second if task == 'second' else fusion.first)
    losses = model(inputs, samples, mode='loss')
    assert losses['fusion.loss_own'].item() == value
    total, log = model.parse_losses(losses)
    assert total.item() == value  # the copy under the name of the task is logged and not counted
    assert (f'fusion.{task}' in log) == bool(task)
    assert task is None or (log[f'fusion.{task}'].item() == value and not losses[f'fusion.{task}'].requires_grad)


def test_a_mixed_batch_is_refused_where_it_matters():
    model = coupling()
    batch = model.data_preprocessor(named('first', 'second'), True)
    assert batch['inputs']['task'] == ('first', 'second')
    with pytest.raises(ValueError, match=r"batches of one task, and this one holds \['first', 'second'\].*TaskBatchSampler"):
        model.fuse(batch['inputs'])
    batch = model.data_preprocessor(named('first', None), True)
    with pytest.raises(ValueError, match=r"\['None', 'first'\]"):
        model.fuse(batch['inputs'])
    indifferent = MODELS.build(dict(type='FusionOnly', fuser=dict(type='AverageFuser')))
    assert indifferent.fuse(batch['inputs']).fused.shape[0] == 2


def test_crops_and_copies_keep_the_task():
    batch = coupling().data_preprocessor(named('second', 'second'), True)
    batch = PairBatch(batch['inputs'], batch['data_samples'])
    for changed in (swap_roles(batch), random_crop(batch, (16, 16)), resize_batch(batch, (20, 24))):
        assert changed.inputs['task'] == 'second' and set(changed.inputs) == {'first', 'second', 'task'}


@pytest.mark.parametrize('kind', ['JointCoupling', 'BilevelCoupling'])
def test_task_in_couplings_with_task_networks(kind):
    model = coupling(kind, tasks=dict(seg=tiny_models.segmentor()))
    log = model.train_step(named('second', 'second'), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0)))
    assert float(log['fusion.second']) == 2.0


def test_epoch_goes_to_the_parts():
    model = coupling()
    model.set_epoch(3)
    assert model.fuser.epoch == 3


def test_options_of_the_inferencer():
    first, second = (torch.full((20, 24), value, dtype=torch.uint8).numpy() for value in (50, 100))
    model = ByTaskFuser()
    assert FusionInferencer(model)(first, second)[0].fused[0, 0] == 50
    fuse = FusionInferencer(model, fuser_options=dict(task='second', shift=0.2))
    assert fuse(first, second)[0].fused[0, 0] == 151
    fuse.fuser_options['shift'] = 0.0
    assert fuse(first, second)[0].fused[0, 0] == 100
    fuse.fuser_options = dict(task='second', shift=0.2)
    assert fuse(first, second)[0].fused[0, 0] == 151
    with pytest.raises(UserError, match='ByTaskFuser has no option scale; it has task, shift'):
        fuse.fuser_options = dict(scale=1)
    assert fuse.fuser_options == dict(task='second', shift=0.2)
    with pytest.raises(UserError, match='ByTaskFuser has no option scale; it has task, shift'):
        FusionInferencer(model, fuser_options=dict(scale=1))
    with pytest.raises(UserError, match='it has none'):
        FusionInferencer('AverageFuser', fuser_options=dict(task='first'))
