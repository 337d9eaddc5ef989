"""Batches whose samples name a fusion task: who is told, who is not, and what is refused."""

import warnings

import pytest
import tiny_models
import torch
from mmengine.optim import OptimWrapper
from tiny_meta import data

from mmfusion.apis import FusionInferencer
from mmfusion.models.couplings.steps.pair_batch import PairBatch, random_crop, resize_batch, swap_roles
from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.registry import DATASETS, MODELS
from mmfusion.structures import fusion_task
from mmfusion.utils import UserError
from mmfusion.utils.renamed import renamed


@MODELS.register_module()
class ByTaskFuser(BaseFuser):
    """Test double: a learned multiple of the first or of the second source, by task."""

    option_keys = ('fusion_task', 'shift')

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(1.0))
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def fuse(self, first, second, fusion_task='first', shift=0.0):
        return FuserOutput(self.gain * dict(first=first, second=second)[fusion_task] + shift, {})


@MODELS.register_module()
class ByTaskLoss(torch.nn.Module):
    """Test double: 1 for the first task and 2 for the second, so that the log tells."""

    def forward(self, fused, first, second, fusion_task='none', **context):
        return fused.mean() * 0 + dict(none=0.0, first=1.0, second=2.0)[fusion_task]


def named(*names):
    batch = data(0)
    for sample, name in zip(batch['data_samples'], names):
        if name:
            sample.set_metainfo(dict(fusion_task=name))
    return batch


def coupling(kind='FusionOnly', **options):
    return MODELS.build(
        dict(type=kind, fuser=dict(type='ByTaskFuser'), fusion_loss=dict(own=dict(type='ByTaskLoss')), **options)
    )


@pytest.mark.parametrize('task, value', [('first', 1.0), ('second', 2.0), (None, 0.0)])
def test_task_reaches_fuser_and_loss(task, value):
    model = coupling()
    batch = named(task, task)
    batch = model.data_preprocessor(batch, True)
    inputs, samples = batch['inputs'], batch['data_samples']
    assert set(inputs) == {'first', 'second'} and fusion_task(samples) == task
    fusion = model.fuse(inputs, data_samples=samples)
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
    assert fusion_task(batch['data_samples']) == ('first', 'second')
    with pytest.raises(
        ValueError, match=r"batches of one task, and this one holds \['first', 'second'\].*TaskBatchSampler"
    ):
        model.fuse(batch['inputs'], data_samples=batch['data_samples'])
    batch = model.data_preprocessor(named('first', None), True)
    with pytest.raises(ValueError, match=r"\['None', 'first'\]"):
        model.fuse(batch['inputs'], data_samples=batch['data_samples'])
    indifferent = MODELS.build(dict(type='FusionOnly', fuser=dict(type='AverageFuser')))
    assert indifferent.fuse(batch['inputs'], data_samples=batch['data_samples']).fused.shape[0] == 2


def test_crops_and_copies_keep_the_task():
    batch = coupling().data_preprocessor(named('second', 'second'), True)
    batch = PairBatch(batch['inputs'], batch['data_samples'])
    for changed in (swap_roles(batch), random_crop(batch, (16, 16)), resize_batch(batch, (20, 24))):
        assert fusion_task(changed.samples) == 'second' and set(changed.inputs) == {'first', 'second'}


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
    fuse = FusionInferencer(model, fuser_options=dict(fusion_task='second', shift=0.2))
    assert fuse(first, second)[0].fused[0, 0] == 151
    fuse.fuser_options['shift'] = 0.0
    assert fuse(first, second)[0].fused[0, 0] == 100
    fuse.fuser_options = dict(fusion_task='second', shift=0.2)
    assert fuse(first, second)[0].fused[0, 0] == 151
    with pytest.raises(UserError, match='ByTaskFuser has no option scale; it has fusion_task, shift'):
        fuse.fuser_options = dict(scale=1)
    assert fuse.fuser_options == dict(fusion_task='second', shift=0.2)
    with pytest.raises(UserError, match='ByTaskFuser has no option scale; it has fusion_task, shift'):
        FusionInferencer(model, fuser_options=dict(scale=1))
    with pytest.raises(UserError, match='it has none'):
        FusionInferencer('AverageFuser', fuser_options=dict(fusion_task='first'))


@pytest.mark.parametrize('mode', ['tensor', 'predict'])
def test_the_modes_take_the_task_from_the_samples(mode):
    model = coupling().eval()
    batch = model.data_preprocessor(named('second', 'second'))
    found = model(batch['inputs'], batch['data_samples'], mode=mode)
    images = torch.stack([sample.fused.data for sample in found]) if mode == 'predict' else found
    torch.testing.assert_close(images, model.fuse(batch['inputs'], data_samples=batch['data_samples']).image)
    assert not torch.equal(images, model.fuse(batch['inputs']).image)


# Names of version
# 0.1.0 -------------------------------------------------------------------------------------------------------------------------


@MODELS.register_module()
class FormerFuser(ByTaskFuser):
    """Test double: a fuser that was written for version 0.1.0."""

    guidance_keys, option_keys = ('task', 'shift'), ()

    def fuse(self, first, second, task='first', shift=0.0):
        return super().fuse(first, second, task, shift)


@MODELS.register_module()
class FormerLoss(torch.nn.Module):
    """Test double: a loss that was written for version 0.1.0."""

    def forward(self, fused, first, second, task='none', **context):
        return fused.mean() * 0 + len(task) + len(context.get('fusion_task', ''))


def test_a_fuser_and_a_loss_of_the_former_version_are_told_under_the_former_name():
    with pytest.warns(DeprecationWarning, match="FormerLoss: 'task' is called 'fusion_task' now"):
        model = MODELS.build(
            dict(type='FusionOnly', fuser=dict(type='FormerFuser'), fusion_loss=dict(own=dict(type='FormerLoss')))
        )
    batch = model.data_preprocessor(named('second', 'second'), True)
    with pytest.warns(DeprecationWarning, match="FormerFuser: 'task' is called 'fusion_task' now"):
        losses = model(batch['inputs'], batch['data_samples'], mode='loss')
        fusion = model.fuse(batch['inputs'], data_samples=batch['data_samples'])
    assert losses['fusion.loss_own'].item() == 2 * len('second') and torch.equal(fusion.fused, fusion.second)
    assert model.fuser.options() == ('task', 'shift') and ByTaskFuser().options() == ('fusion_task', 'shift')


def test_former_names_of_arguments():
    first, second = (torch.rand(1, 1, 20, 24) for _ in range(2))
    fuser, model = ByTaskFuser(), coupling()
    with pytest.warns(DeprecationWarning, match="ByTaskFuser: 'task' is called 'fusion_task' now"):
        assert torch.equal(fuser(first, second, task='second').fused, second)
    with pytest.warns(DeprecationWarning, match='name the fusion task'):
        assert torch.equal(model.fuse(dict(first=first, second=second, task='second')).fused, second)
    with pytest.warns(DeprecationWarning):
        assert FusionInferencer(fuser, fuser_options=dict(task='second')).fuser_options == dict(fusion_task='second')
    with pytest.raises(TypeError, match='no guidance named'):
        MODELS.build(dict(type='AverageFuser'))(first, second, task='second')


def test_former_keys_of_configs():
    terms = dict(far=dict(pixel=dict(type='L1FusionLoss', target='mean')))
    with pytest.warns(DeprecationWarning, match="TaskFusionLoss: 'tasks' is called 'fusion_tasks' now"):
        loss = MODELS.build(dict(type='TaskFusionLoss', tasks=terms))
    images = [torch.rand(1, 1, 16, 16) for _ in range(3)]
    with pytest.warns(DeprecationWarning, match="TaskFusionLoss: 'task' is called 'fusion_task' now"):
        assert torch.equal(loss(*images, task='far'), loss(*images, fusion_task='far'))
    with pytest.warns(DeprecationWarning, match="TCMoA: 'tasks?' is called 'fusion_tasks?' now"):
        fuser = MODELS.build(dict(type='TCMoA', arch='tiny', tasks=('far', 'near'), task='near'))
        assert (fuser.tasks, fuser.task) == (fuser.fusion_tasks, fuser.fusion_task) == (('far', 'near'), 'near')
    part = dict(type='DemoPairs', length=2, size=(64, 64), pipeline=[])
    with pytest.warns(DeprecationWarning, match="FusionTasksDataset: 'tasks' is called 'fusion_tasks' now"):
        dataset = DATASETS.build(dict(type='FusionTasksDataset', tasks=dict(far=part), fusion_tasks=dict(near=part)))
    assert dataset.task_names == ('near', 'far')  # as a config that inherits the one and adds the other


def test_former_keys_replace_what_is_inherited():

    @renamed('call', tasks='fusion_tasks', task='fusion_task')
    def call(**arguments):
        return arguments

    with pytest.warns(DeprecationWarning):
        assert call(task='a', fusion_task='b', rest=1) == dict(fusion_task='a', rest=1)
        assert call(tasks=dict(_delete_=True, a=1), fusion_tasks=dict(b=2)) == dict(fusion_tasks=dict(a=1))
        far = dict(b=dict(x=1, y=dict(z=1)), c=3)
        assert call(tasks=dict(b=dict(y=dict(_delete_=True, w=2))), fusion_tasks=far) == dict(
            fusion_tasks=dict(b=dict(x=1, y=dict(w=2)), c=3)
        )
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert call(fusion_task='b') == dict(fusion_task='b')
