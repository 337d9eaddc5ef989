"""Defects of the published program that MetaCoupling does not repeat, and input that it refuses."""

import copy
import gc
from types import SimpleNamespace

import pytest
import tiny_models
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from tiny_meta import changed, data, meta, optimizers, state
from torch.nn.parallel import DistributedDataParallel

from mmfusion.engine import BFloat16OptimWrapper
from mmfusion.models.couplings.steps.state import TrainingState
from mmfusion.running.checks import check_training
from mmfusion.running.training import enable_amp
from mmfusion.utils import UserError

# Defects of the published program that are not
# repeated -----------------------------------------------------------------


def test_the_task_optimizer_keeps_its_moments_through_phase_1():
    for restore in (True, False):
        coupling = meta(restore_moments=restore)
        wrappers = optimizers(coupling)
        coupling.train_step(data(3), wrappers)
        adam = wrappers['tasks'].optimizer
        before = {key: {name: value.clone() for name, value in moments.items()} for key, moments in adam.state.items()}
        weights = state(coupling.tasks)
        coupling.meta_step(data(0), data(1), wrappers)
        same = all(
            torch.equal(value, before[key][name])
            for key, moments in adam.state.items()
            for name, value in moments.items()
        )
        assert same == restore
        assert not changed(coupling.tasks, weights)


def test_an_optimizer_of_the_loss_module_is_used_or_refused():
    """The published program builds one that never steps."""
    coupling = meta()
    adam = torch.optim.Adam(coupling.loss_generator.parameters(), lr=0.01)  # eps 1e-8
    with pytest.raises(UserError, match='eps=1e-08 is too large'):
        coupling.meta_step(data(0), data(1), optimizers(coupling, loss_generator=OptimWrapper(adam)))


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('builtins.open', lambda *args, **kwargs: pytest.fail(f'opened {args}'))
    monkeypatch.setattr(torch, 'save', lambda *args, **kwargs: pytest.fail('saved'))
    coupling = meta()
    coupling.meta_step(data(0), data(1), optimizers(coupling))
    assert not list(tmp_path.iterdir())


def live_tensors():
    """Number of tensors that are alive, and of those with a graph behind them."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if isinstance(item, torch.Tensor)]
    return len(tensors), sum(tensor.grad_fn is not None for tensor in tensors)


def test_no_graph_and_no_shadow_stays_alive():
    coupling = meta(crop_size=16)
    wrappers, counts = optimizers(coupling), []
    batches = [data(seed, 1, height=16, width=24) for seed in range(2)]
    for step in range(8):
        log = coupling.meta_step(*copy.deepcopy(batches), wrappers)
        if step in (3, 7):
            counts.append(live_tensors())
        assert all(parameter.grad is None for parameter in coupling.parameters())
        assert not any(value.requires_grad for value in log.values())
    assert counts[0] == counts[1] and counts[1][1] == 0, counts
    names = set(coupling.state_dict())
    assert names == {
        f'{part}.{name}'
        for part in ('fuser', 'loss_generator', 'tasks')
        for name in getattr(coupling, part).state_dict()
    }


@pytest.mark.slow
def test_memory_does_not_grow_over_200_steps():
    psutil = pytest.importorskip('psutil')
    coupling = meta(crop_size=16)
    wrappers, sizes = optimizers(coupling), {}
    batches = [data(seed, 1, height=16, width=24) for seed in range(2)]
    for step in range(201):
        coupling.meta_step(*copy.deepcopy(batches), wrappers)
        if step in (50, 200):
            sizes[step] = live_tensors()[0], psutil.Process().memory_info().rss / 2**20
    assert sizes[50][0] == sizes[200][0]
    assert sizes[200][1] - sizes[50][1] < 10, sizes  # MiB


def test_training_state_brings_everything_back():
    layer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        layer(torch.rand(5, 3)).square().sum().backward()
        optimizer.step()

    step()
    before, moments = state(layer), copy.deepcopy(optimizer.state_dict())
    saved = TrainingState(layer, optimizer)
    torch.manual_seed(7)
    step()
    after = state(layer)
    saved.restore()
    assert not changed(layer, before) and str(optimizer.state_dict()) == str(moments)
    torch.manual_seed(7)
    step()
    assert not changed(layer, after)  # the same step once more


# Bad
# input ----------------------------------------------------------------------------------------------------------------


def test_a_batch_without_boxes_works():
    coupling = meta(tasks=dict(det=tiny_models.rtmdet()))
    empty = data(0)
    for sample in empty['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    log = coupling.meta_step(empty, copy.deepcopy(empty), optimizers(coupling))
    assert torch.isfinite(log['meta.loss'])
    assert torch.isfinite(coupling.train_step(copy.deepcopy(empty), optimizers(coupling))['loss'])


def test_labels_of_another_size_and_unknown_classes():
    coupling = meta(tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()))
    wrappers = optimizers(coupling)
    wrong = data(0)
    wrong['data_samples'][1].gt_sem_seg = type(wrong['data_samples'][1].gt_sem_seg)(
        data=torch.zeros(1, 32, 48, dtype=torch.long)
    )
    with pytest.raises(ValueError, match=r"'001' has the size \(32, 48\) and its image \(64, 96\)"):
        coupling.train_step(wrong, wrappers)
    wrong = data(0)
    wrong['data_samples'][0].gt_sem_seg.data[0, 3, 3] = 7
    with pytest.raises(ValueError, match="sample '000' has class 7, but task 'seg' has num_classes=3"):
        coupling.meta_step(data(1), wrong, wrappers)
    wrong['data_samples'][0].gt_sem_seg.data[0, 3, 3] = 255  # to be ignored
    wrong['data_samples'][0].gt_instances.labels = torch.tensor([0, 3])
    with pytest.raises(ValueError, match="has class 3, but task 'det'"):
        coupling.meta_step(data(1), wrong, wrappers)
    with pytest.raises(ValueError, match='no data_samples'):
        coupling.train_step(dict(inputs=data(0)['inputs']), wrappers)


def test_optimizers_and_precision():
    coupling = meta()
    good = dict(optimizers(coupling).items())

    def refused(message, wrappers):
        with pytest.raises(UserError, match=message):
            coupling.train_step(data(0), wrappers)
        with pytest.raises(UserError, match=message):
            coupling.meta_step(data(0), data(1), wrappers)

    refused('one optimizer for each part', good['fuser'])
    refused(r"no \['tasks'\]", OptimWrapperDict(fuser=good['fuser']))
    refused(r"has \['detector'\], but MetaCoupling knows", OptimWrapperDict(**good, detector=good['tasks']))
    refused(
        'does not accumulate',
        OptimWrapperDict(fuser=good['fuser'], tasks=OptimWrapper(good['tasks'].optimizer, accumulative_counts=2)),
    )
    refused(
        'trains in float32', OptimWrapperDict(fuser=BFloat16OptimWrapper(good['fuser'].optimizer), tasks=good['tasks'])
    )
    amp = AmpOptimWrapper.__new__(AmpOptimWrapper)  # its constructor wants a GPU
    refused(
        'tasks is a AmpOptimWrapper, but MetaCoupling trains in float32',
        OptimWrapperDict(fuser=good['fuser'], tasks=amp),
    )
    with torch.autocast('cpu', torch.bfloat16):
        refused('Leave autocast', OptimWrapperDict(**good))
    coupling.half()
    refused('Leave autocast', OptimWrapperDict(**good))


def test_losses_that_do_not_learn():
    coupling = meta(fusion_loss=dict(l1=dict(type='L1FusionLoss')))
    with pytest.raises(UserError, match='does not reach LossGenerationModule'):
        coupling.meta_step(data(0), data(1), optimizers(coupling))
    coupling = meta(task_weights=dict(seg=0.0))
    with pytest.raises(UserError, match='needs a task of weight above 0'):
        coupling.meta_step(data(0), data(1), optimizers(coupling))
    assert set(coupling.train_step(data(0), optimizers(coupling))) == {'fusion.loss_learned', 'loss', 'weight_first'}


def test_weights_that_are_not_finite_stop_the_training():
    coupling = meta()
    with torch.no_grad():
        next(coupling.loss_generator.parameters()).fill_(float('nan'))
    with pytest.raises(UserError, match='not finite'):
        coupling.meta_step(data(0), data(1), optimizers(coupling))


def test_parts_that_are_wrapped_one_by_one():
    coupling = meta()
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
    torch.nn.Module.__init__(wrapped)
    wrapped.module = coupling.fuser
    wrappers = optimizers(coupling)
    coupling.fuser = wrapped
    with pytest.raises(UserError, match='wrapped one by one'):
        coupling.meta_update(None, None, None, wrappers)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(tasks={}), 'at least one task'),
        (dict(fusion_loss={}), 'needs a fusion loss'),
        (dict(fuser=dict(type='AverageFuser')), 'AverageFuser has no trainable'),
        (dict(crop_size=8), 'crop_size must be'),
        (dict(task_size=(240,)), 'task_size must be'),
        (dict(resize='labels'), 'resize must be one of'),
        (dict(inner_fuser='old'), 'inner_fuser must be one of'),
        (dict(inner_steps=0), 'inner_steps must be at least 1'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        meta(**options)


def test_the_tools_refuse_what_cannot_work():
    """Before the first iteration: half precision, and a loop without phase 1."""
    with pytest.raises(UserError, match='--amp: MetaCoupling trains in float32'):
        enable_amp(Config(dict(model=dict(type='MetaCoupling'))))
    runner = SimpleNamespace(model=meta(), train_loop=object(), train_dataloader=[0], val_loop=None)
    with pytest.raises(UserError, match="train_cfg = dict\\(type='MetaTrainLoop'"):
        check_training(runner)
