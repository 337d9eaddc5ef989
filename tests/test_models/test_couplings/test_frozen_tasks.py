"""Task networks that are frozen: they stay as loaded, bit by bit, while their loss reaches the fuser; in every
coupling.
"""

from types import SimpleNamespace

import pytest
import tiny_meta
import tiny_models
import torch
from mmengine.optim import build_optim_wrapper
from tiny_config import write_tiny_config
from tiny_meta import changed, data, state
from two_processes import in_two_processes

from mmfusion.engine.hooks import SyncLearnedBuffersHook, sync_learned_buffers_hook
from mmfusion.models.couplings.task_network import TaskNetwork
from mmfusion.models.scoped import build_scoped
from mmfusion.registry import MODELS
from mmfusion.utils import UserError, register_all_modules, safe_load

TIM = dict(type='TIM', genotype='fusion_light', width=4)
SUPERNET = dict(
    type='SearchableTIM',
    cells=[dict(kind='chain', length=2)],
    candidates=('residual_3_1', 'eca_3', 'spatial_3'),
    width=4,
)
LOSS = dict(l1=dict(type='L1FusionLoss'))
COUPLINGS = dict(
    joint=dict(type='JointCoupling', fuser=TIM, fusion_loss=LOSS),
    bilevel=dict(type='BilevelCoupling', fuser=TIM, fusion_loss=LOSS),
    meta=dict(
        type='MetaCoupling',
        fuser=dict(type='ReFusion', **tiny_meta.SMALL),
        crop_size=32,
        fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
        loss_generator=dict(type='LossGenerationModule', **tiny_meta.SMALL),
    ),
    search=dict(type='SearchCoupling', fuser=SUPERNET, fusion_loss=LOSS, upper='both'),
)
SGD = dict(optimizer=dict(type='SGD', lr=0.05), clip_grad=dict(max_norm=1.0))


def build(coupling, task='rtmdet', frozen_tasks=('task',), **options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(COUPLINGS[coupling], tasks=dict(task=tiny_models.TASKS[task]()), frozen_tasks=frozen_tasks, **options)
    )
    model.init_weights()
    return model.train()


def optimizers(model, coupling):
    """As a config has them."""
    if coupling == 'joint':
        return build_optim_wrapper(
            model, dict(type='OptimWrapper', constructor='TrainableOptimWrapperConstructor', **SGD)
        )
    parts = dict(fuser=SGD, architecture=SGD) if coupling == 'search' else dict(fuser=SGD)
    if any(parameter.requires_grad for parameter in model.tasks.parameters()):
        parts['tasks'] = SGD
    return build_optim_wrapper(model, dict(constructor='PartOptimWrapperConstructor', **parts))


def train(model, coupling, steps=2):
    """Steps as the loop of the coupling takes them; what was logged last."""
    wrapper = optimizers(model, coupling)
    for seed in range(steps):
        if coupling == 'meta':
            log = model.meta_step(data(seed), data(seed + 5), wrapper)
        if coupling == 'search':
            log = model.search_step(data(seed), data(seed + 5), wrapper)
        else:
            log = {**(log if coupling == 'meta' else {}), **model.train_step(data(seed), wrapper)}
    return log


@pytest.mark.parametrize('coupling', COUPLINGS)
@pytest.mark.parametrize('task', ['rtmdet', 'segmentor'])
def test_network_stays_bit_by_bit_in_every_coupling(coupling, task):
    model = build(coupling, task)
    before, fuser = state(model.tasks), state(model.fuser)
    log = train(model, coupling)
    assert changed(model.tasks, before) == set()
    assert changed(model.fuser, fuser)
    assert any(
        name.startswith('task.loss') or name.startswith('task.decode.loss') for name in log
    )  # losses of training, not predictions


@pytest.mark.parametrize('task', tiny_models.TASKS)
def test_loss_of_a_frozen_network_reaches_the_fuser(task):
    model = build('joint', task)
    inputs, samples = tiny_models.make_batch()
    losses = {name: value for name, value in model(inputs, samples, mode='loss').items() if name.startswith('task.')}
    model.parse_losses(losses)[0].backward()
    assert max(parameter.grad.abs().max() for parameter in model.fuser.parameters() if parameter.grad is not None) > 0
    assert all(parameter.grad is None for parameter in model.tasks.parameters())


def test_fuser_learns_otherwise_than_without_the_task():
    with_task, without = build('joint', 'segmentor'), build('joint', 'segmentor', task_weights=dict(task=0.0))
    train(with_task, 'joint')
    train(without, 'joint')
    assert changed(with_task.fuser, state(without.fuser))


@pytest.mark.parametrize('coupling', COUPLINGS)
def test_statistics_alone_adapt(coupling):
    model = build(coupling, frozen_tasks=dict(task='weights'))
    before = state(model.tasks)
    train(model, coupling)
    names = changed(model.tasks, before)
    assert names and all(name.endswith(('running_mean', 'running_var', 'num_batches_tracked')) for name in names)


@pytest.mark.parametrize(
    'coupling, task',
    [
        ('joint', 'rtmdet'),
        ('joint', 'faster_rcnn'),
        ('bilevel', 'rtmdet'),
        ('meta', 'segmentor'),
        ('search', 'segmentor'),
    ],
)
def test_head_alone_learns(coupling, task):
    model = build(coupling, task, frozen_tasks=dict(task='all_but_head'))
    before = state(model.tasks)
    train(model, coupling)
    children = {name.split('.')[2] for name in changed(model.tasks, before)}
    assert children and children <= {'bbox_head', 'rpn_head', 'roi_head', 'decode_head'}
    assert children == {name for name, _ in model.tasks['task'].network.named_children() if name.endswith('head')}


def test_one_task_is_frozen_and_the_other_learns():
    model = MODELS.build(
        dict(
            COUPLINGS['meta'], tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()), frozen_tasks=('det',)
        )
    ).train()
    before = state(model.tasks)
    train(model, 'meta')
    assert {name.split('.')[0] for name in changed(model.tasks, before)} == {'seg'}


def test_optimizer_holds_no_frozen_weight():
    model = build('joint')
    held = {id(parameter) for group in optimizers(model, 'joint').param_groups for parameter in group['params']}
    assert held == {id(parameter) for parameter in model.fuser.parameters()}


def test_mode_of_the_parts():
    model = build('joint', frozen_tasks=dict(task='all_but_head'))
    network = model.tasks['task'].network
    assert network.bbox_head.training and not any(part.training for part in network.backbone.modules())
    assert not model.eval().tasks['task'].network.bbox_head.training
    assert not any(part.training for part in build('joint').tasks['task'].network.modules())
    assert all(
        part.training for part in build('joint', frozen_tasks=dict(task='weights')).tasks['task'].network.modules()
    )


@pytest.mark.parametrize(
    'frozen, message',
    [
        (('dett',), r"frozen_tasks names \['dett'\], but the tasks are \['task'\]"),
        ('task', 'got a bare string'),
        (dict(task='neck'), r"must be one of \('all', 'weights', 'all_but_head'\), got 'neck'"),
    ],
)
def test_wrong_options_are_refused(frozen, message):
    with pytest.raises(ValueError, match=message):
        build('joint', frozen_tasks=frozen)


def test_head_that_cannot_be_found_is_refused(monkeypatch):
    from mmfusion.models.couplings import task_network

    class Headless(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Linear(1, 1)
            self.data_preprocessor = SimpleNamespace()

    monkeypatch.setattr(task_network, 'build_scoped', lambda cfg: Headless())
    monkeypatch.setattr(TaskNetwork, '_kind', staticmethod(lambda network: 'detection'))
    with pytest.raises(ValueError, match="Headless has no head by name .* freeze 'all' or 'weights'"):
        TaskNetwork(dict(type='x'), frozen='all_but_head')


def test_meta_coupling_refuses_an_optimizer_of_frozen_tasks():
    model = build('meta')
    wrong = tiny_meta.optimizers(model)
    with pytest.raises(UserError, match=r"optim_wrapper has \['tasks'\]"):
        model.train_step(data(), wrong)
    with pytest.raises(UserError, match='no such part to train'):
        build_optim_wrapper(model, dict(constructor='PartOptimWrapperConstructor', fuser=SGD, tasks=SGD))


# Whole
# runs ------------------------------------------------------------------------------------------------------------------------

FROZEN = """
detector.init_cfg = dict(type='Pretrained', checkpoint='{checkpoint}')
model.update(frozen_tasks=('det', ))
optim_wrapper = dict(type='OptimWrapper', constructor='TrainableOptimWrapperConstructor', optimizer=dict(type='AdamW', lr=1e-3))
"""


def run(folder, name, *options, checkpoint):
    from mmfusion.cli.arguments import parse_train_args
    from mmfusion.running.training import train as train_command

    config = write_tiny_config(folder, FROZEN.format(checkpoint=checkpoint))
    return train_command(parse_train_args([str(config), '--work-dir', str(folder / name), '--device', 'cpu', *options]))


@pytest.fixture
def checkpoint(tmp_path):
    """A detector for the tiny config, with batch norm statistics that are not those of a new network."""
    network = build_scoped(tiny_models.rtmdet())
    network.init_weights()
    for name, buffer in network.named_buffers():
        if name.endswith(('running_mean', 'running_var')):
            buffer.uniform_(0.5, 1.5)
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'detector.pth')
    return tmp_path / 'detector.pth'


def test_stopped_and_resumed_run_is_exact_and_the_network_is_that_of_the_file(tmp_path, checkpoint):
    run(tmp_path, 'whole', checkpoint=checkpoint)
    whole, first = (safe_load(str(tmp_path / 'whole' / f'epoch_{epoch}.pth')) for epoch in (2, 1))
    (tmp_path / 'pieces').mkdir()
    torch.save(first, tmp_path / 'pieces' / 'epoch_1.pth')
    run(tmp_path, 'pieces', '--resume', str(tmp_path / 'pieces' / 'epoch_1.pth'), checkpoint=checkpoint)
    resumed = safe_load(str(tmp_path / 'pieces' / 'epoch_2.pth'))
    loaded = safe_load(str(checkpoint))['state_dict']
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name
        if name.startswith('tasks.det.network.') and 'data_preprocessor' not in name:
            assert torch.equal(value, loaded[name[len('tasks.det.network.') :]]), name
    assert any(not torch.equal(value, first['state_dict'][name]) for name, value in whole['state_dict'].items())
    count = sum(len(group['params']) for group in whole['optimizer']['param_groups'])
    assert count == sum(1 for name in whole['state_dict'] if name.startswith('fuser.'))


@pytest.mark.parametrize(
    'start, message',
    [
        ('None', 'model.tasks.det would stay at random weights'),
        (
            "dict(type='mmfusion.PretrainedTask', checkpoint='none.pth', if_absent='random')",
            'checkpoint not found: none.pth',
        ),
    ],
)
def test_frozen_network_without_weights_is_an_error(start, message, tmp_path):
    from mmfusion.cli.arguments import parse_train_args
    from mmfusion.running.training import train as train_command

    config = write_tiny_config(tmp_path, f"detector['init_cfg'] = {start}\nmodel.update(frozen_tasks=('det', ))\n")
    with pytest.raises(UserError, match=message):
        train_command(parse_train_args([str(config), '--work-dir', str(tmp_path / 'work'), '--device', 'cpu']))


# Several
# processes -----------------------------------------------------------------------------------------------------------------


def share(rank, world_size):
    """This process's part of a fixed batch of four pairs."""
    inputs, samples = tiny_models.make_batch(4)
    mine = slice(rank * 4 // world_size, (rank + 1) * 4 // world_size)
    return {name: value[mine] for name, value in inputs.items()}, samples[mine]


def joint_in_processes(rank, world_size):
    """State after two steps and the end of an epoch, in the wrapper that mmengine takes."""
    from mmengine.model import MMDistributedDataParallel

    register_all_modules()
    model = build('joint', 'segmentor')
    model.fuser.eval()  # batch statistics see only the local images
    wrapped = (
        MMDistributedDataParallel(model, find_unused_parameters=True, broadcast_buffers=False)
        if world_size > 1
        else model
    )
    wrapper = optimizers(wrapped, 'joint')
    inputs, samples = share(rank, world_size)
    for _ in range(2):
        total, _ = model.parse_losses(wrapped(inputs, samples, mode='loss'))
        wrapper.update_params(total)
    SyncLearnedBuffersHook().after_train_epoch(SimpleNamespace(model=wrapped))
    return model.state_dict()


def test_two_processes_train_the_fuser_of_one_and_leave_the_network(tmp_path):
    register_all_modules()
    one = joint_in_processes(0, 1)
    loaded = build('joint', 'segmentor').state_dict()
    for two in in_two_processes(joint_in_processes, tmp_path):
        for name, value in one.items():
            if name.startswith('tasks.'):
                assert torch.equal(two[name], loaded[name]), name
            else:
                torch.testing.assert_close(
                    two[name], value, rtol=1e-4, atol=1e-5, msg=lambda message, name=name: f'{name}: {message}'
                )


def test_buffers_of_frozen_networks_are_not_averaged(monkeypatch):
    model = MODELS.build(
        dict(
            COUPLINGS['joint'], tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()), frozen_tasks=('det',)
        )
    ).train()
    averaged = []
    monkeypatch.setattr(
        sync_learned_buffers_hook, 'all_reduce_params', lambda buffers, op: averaged.extend(map(id, buffers))
    )
    hook = SyncLearnedBuffersHook()
    hook.distributed = True
    hook.after_train_epoch(SimpleNamespace(model=model))
    hook.before_val_epoch(SimpleNamespace(model=model))  # not a second time
    assert sorted(averaged) == sorted(
        {
            id(buffer)
            for name, buffer in model.named_buffers()
            if not name.startswith('tasks.det.network.') and 'data_preprocessor' not in name
        }
        | {
            id(buffer)
            for name, buffer in model.named_buffers()
            if 'data_preprocessor' in name and not name.startswith('tasks.det.')
        }
    )
