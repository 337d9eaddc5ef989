"""Clipping by part, and several optimizers on one loss."""

import functools

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from tiny_sweep import FUSER, L1, make_runner, segmentor, state

from mmfusion.engine.loops import check_loop
from mmfusion.engine.optim_wrappers import PartOptimWrapper
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

JOINT = dict(type='JointCoupling', fuser=FUSER, fusion_loss=L1, tasks=dict(seg=segmentor()))
ADAM = dict(type='Adam', lr=0.01, fused=True)  # as TrainableOptimWrapperConstructor has it by itself


def trained(folder, model=JOINT, wrapper=None, clip=0.05, optimizer=ADAM, **options):
    """A runner after three iterations with one optimizer that clips."""
    runner = make_runner(
        folder,
        model,
        wrapper or dict(type='OptimWrapper', optimizer=optimizer, clip_grad=dict(max_norm=clip), **options),
    )
    runner.train()
    return runner


def parts(**entries):
    """Config of one optimizer for each part."""
    return dict(constructor='PartOptimWrapperConstructor', **entries)


def of(runner, name):
    """State of a part."""
    return {key: value for key, value in state(runner).items() if key.startswith(name)}


def assert_same(first, second):
    assert first.keys() == second.keys() and first
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """mmengine's AmpOptimWrapper, which asks for a GPU, on the CPU."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', functools.partial(torch.amp.GradScaler, device='cpu'))
    return dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=2.0**12)


@pytest.mark.parametrize('kind', ['OptimWrapper', 'AmpOptimWrapper', 'accumulated', 'BilevelCoupling'])
def test_detached_fuser_does_not_depend_on_the_task(tmp_path, kind, amp_on_cpu):
    """Under clipping too: all norms are above max_norm, and those of the tasks differ by a factor of 1000."""
    options = dict(
        OptimWrapper={}, AmpOptimWrapper=amp_on_cpu, accumulated=dict(accumulative_counts=2), BilevelCoupling={}
    )[kind]
    model = (
        dict(JOINT, detach=True) if kind != 'BilevelCoupling' else dict(JOINT, type='BilevelCoupling', upper_weight=0.0)
    )
    wrapper = dict(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05), clip_grad=dict(max_norm=0.005)), **options
    )
    runs = [
        trained(tmp_path / str(weight), dict(model, task_weights=dict(seg=weight)), wrapper) for weight in (1.0, 1000.0)
    ]
    scalars = [run.message_hub.log_scalars['train/grad_norm.seg'].data[0] for run in runs]
    assert scalars[1].min() > 100 * scalars[0].max() and scalars[0].min() > 0.005
    assert_same(of(runs[0], 'fuser.'), of(runs[1], 'fuser.'))


def test_norms_of_all_parts_are_logged(tmp_path):
    runner = trained(tmp_path)
    scalars = {
        name: runner.message_hub.log_scalars[f'train/{name}'].data[0]
        for name in ('grad_norm', 'grad_norm.fuser', 'grad_norm.seg')
    }
    assert all(len(values) == 3 for values in scalars.values())
    assert scalars['grad_norm'] == pytest.approx(
        (scalars['grad_norm.fuser'] ** 2 + scalars['grad_norm.seg'] ** 2) ** 0.5
    )


def test_norm_that_is_small_enough_stays(tmp_path):
    """Nothing but the clipping differs from a training without."""
    free = trained(tmp_path / 'free', wrapper=dict(type='OptimWrapper', optimizer=ADAM))
    assert_same(state(trained(tmp_path / 'clipped', clip=1e6)), state(free))


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('counts', [1, 2])
def test_parts_with_equal_options_equal_one_optimizer(tmp_path, amp, counts, amp_on_cpu):
    """With an own Adam, clipping and accumulation each; the last of three iterations is an accumulation of one."""
    options = dict(
        dict(amp_on_cpu) if amp else dict(type='OptimWrapper'),
        optimizer=ADAM,
        clip_grad=dict(max_norm=0.05),
        accumulative_counts=counts,
    )
    one = trained(tmp_path / 'one', wrapper=options)
    several = trained(tmp_path / 'parts', wrapper=parts(fuser=options, tasks=options))
    assert isinstance(several.optim_wrapper, PartOptimWrapper)
    assert_same(state(one), state(several))
    assert (
        'train/grad_norm.fuser' in several.message_hub.log_scalars
        and 'train/grad_norm' not in several.message_hub.log_scalars
    )


@pytest.mark.parametrize('coupling', ['JointCoupling', 'FusionOnly'])
def test_every_part_has_its_own_rate(tmp_path, coupling):
    model = JOINT if coupling == 'JointCoupling' else dict(type='FusionOnly', fuser=FUSER, fusion_loss=L1)
    entries = dict(fuser=dict(optimizer=dict(type='SGD', lr=0.0)))
    if coupling == 'JointCoupling':
        entries['tasks'] = dict(optimizer=dict(type='SGD', lr=0.1))
    runner = make_runner(tmp_path, model, parts(**entries))
    torch.manual_seed(0)
    runner.model.init_weights()
    start = state(runner)
    runner.train()
    after = state(runner)
    moved = {name.split('.')[0] for name, value in after.items() if not torch.equal(value, start[name])}
    assert moved == ({'tasks'} if coupling == 'JointCoupling' else set())
    assert 'train/fuser.lr' in runner.message_hub.log_scalars


def test_part_that_overflows_misses_its_step_alone(amp_on_cpu):
    from mmengine.optim import AmpOptimWrapper

    layers = {name: torch.nn.Linear(1, 1, bias=False) for name in ('fuser', 'tasks')}
    options = {key: value for key, value in amp_on_cpu.items() if key != 'type'}
    wrapper = PartOptimWrapper(
        **{
            name: AmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=0.1), **options)
            for name, layer in layers.items()
        }
    )
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    with wrapper.optim_context(layers['fuser']):
        loss = layers['fuser'].weight.sum() + layers['tasks'].weight.sum() * float('inf')
    wrapper.update_params(loss)
    assert torch.equal(layers['tasks'].weight, before['tasks'])
    torch.testing.assert_close(layers['fuser'].weight, before['fuser'] - 0.1)
    saved = wrapper.state_dict()
    assert set(saved) == {'fuser', 'tasks'} and all('loss_scaler' in entry for entry in saved.values())


SGD = dict(optimizer=dict(type='SGD', lr=0.1))


@pytest.mark.parametrize(
    ('wrapper', 'message'),
    [
        (parts(fuser=SGD), r'has no tasks.*tasks=dict\(optimizer'),
        (
            parts(fuser=SGD, tasks=dict(SGD, accumulative_counts=2)),
            'accumulative_counts=2 differs from 1 of optim_wrapper.fuser',
        ),
        (
            parts(fuser=SGD, tasks=dict(SGD, type='BFloat16OptimWrapper')),
            'type=BFloat16OptimWrapper differs from OptimWrapper',
        ),
        (parts(fuser=SGD, tasks=SGD, guide=SGD), 'optim_wrapper.guide.*no such part'),
    ],
)
def test_parts_that_cannot_be_trained_are_refused_before_training(tmp_path, wrapper, message):
    runner = make_runner(tmp_path, JOINT, wrapper)
    with pytest.raises(UserError, match=message):
        runner.train()
    assert runner.iter == 0


def test_optimizers_without_a_common_step_are_refused(tmp_path):
    runner = make_runner(tmp_path, JOINT, dict(optimizer=dict(type='SGD', lr=0.1)))
    runner.optim_wrapper = OptimWrapperDict(
        **{
            name: OptimWrapper(torch.optim.SGD(part.parameters(), lr=0.1))
            for name, part in runner.model.learning_parts().items()
        }
    )
    with pytest.raises(UserError, match='PartOptimWrapperConstructor'):
        runner.train()


def test_clipping_of_sharded_weights_is_refused(monkeypatch):
    """FSDP itself needs several processes; known by its own method for norms."""
    from mmengine.runner import EpochBasedTrainLoop
    from torch.nn.parallel import DistributedDataParallel

    model = MODELS.build(dict(type='FusionOnly', fuser=FUSER, fusion_loss=L1))
    parallel, loop = (
        DistributedDataParallel.__new__(DistributedDataParallel),
        EpochBasedTrainLoop.__new__(EpochBasedTrainLoop),
    )
    monkeypatch.setattr(DistributedDataParallel, 'module', model, raising=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    check_loop(parallel, loop, OptimWrapper(optimizer, clip_grad=dict(max_norm=1)))
    monkeypatch.setattr(DistributedDataParallel, 'clip_grad_norm_', None, raising=False)
    check_loop(parallel, loop, OptimWrapper(optimizer))
    with pytest.raises(UserError, match='norm of its own'):
        check_loop(parallel, loop, OptimWrapper(optimizer, clip_grad=dict(max_norm=1)))


def test_frozen_guide_needs_no_optimizer():
    guide = dict(type='TwoStreamGuide', in_channels=32, attention_channels=8)
    import tiny_models

    detector = dict(
        tiny_models.rtmdet(), data_preprocessor=dict(tiny_models.rtmdet()['data_preprocessor'], batch_augments=None)
    )
    fuser = dict(
        type='MoEFusion',
        base_channels=4,
        expert_channels=4,
        decoder_channels=(8,),
        local_grid=(4, 4),
        global_grid=(4, 4),
    )
    for weight, wanted in ((0.0, {'fuser'}), (1.0, {'fuser', 'guide'})):
        model = MODELS.build(
            dict(type='FusionOnly', fuser=fuser, guide=dict(guide, detector=detector), guide_weight=weight)
        )
        assert set(model.learning_parts()) == wanted
