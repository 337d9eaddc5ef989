"""Couplings with a step of their own: two processes, each with half of the data, take the step of one process with all
of it.
"""

from types import SimpleNamespace

import pytest
import tiny_models
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper, OptimWrapperDict
from tiny_fusion_tasks import LOSS, TASKS
from two_processes import in_two_processes

from mmfusion.datasets import FusionTasksDataset
from mmfusion.engine.loops import CouplingTrainLoop, check_loop
from mmfusion.registry import MODELS
from mmfusion.utils import UserError, register_all_modules


def wrapped(model, world_size):
    """The model as a runner has it: its wrapper must neither be needed nor get in the way."""
    from mmengine.model import MMDistributedDataParallel

    return MMDistributedDataParallel(model, find_unused_parameters=True) if world_size > 1 else model


def frozen_statistics(model):
    """Batch norms in evaluation mode: batch statistics see only the local images."""
    for module in model.train().modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def make_optimizers(model, *names):
    """SGD for each part."""
    return OptimWrapperDict(
        **{name: OptimWrapper(torch.optim.SGD(model.learning_parts()[name].parameters(), lr=0.05)) for name in names}
    )


def share(rank, world_size, seed=0):
    """This rank's part of a fixed batch of two pairs."""
    inputs, samples = tiny_models.make_batch(2, 32, 48, seed=seed)
    mine = slice(rank * 2 // world_size, (rank + 1) * 2 // world_size)
    return dict(inputs={name: list(value[mine]) for name, value in inputs.items()}, data_samples=samples[mine])


def bilevel(rank, world_size):
    """State and log after two steps, called as the loop calls them."""
    model = frozen_statistics(
        MODELS.build(
            dict(
                type='BilevelCoupling',
                fuser=dict(type='TIM', genotype='fusion_light', width=4),
                fusion_loss=dict(l1=dict(type='L1FusionLoss')),
                tasks=dict(seg=tiny_models.segmentor()),
                momentum=0.5,
            )
        )
    )
    logs = []
    loop = CouplingTrainLoop.__new__(CouplingTrainLoop)  # what it does with a wrapped model, without a runner
    loop._runner = SimpleNamespace(
        model=wrapped(model, world_size),
        optim_wrapper=make_optimizers(model, 'fuser', 'tasks'),
        call_hook=lambda *args, outputs=None, **kwargs: logs.append(outputs),
    )
    loop._iter = 0
    for index in range(2):
        loop.run_iter(index, share(rank, world_size))
    return model.state_dict(), logs[-1]


def search(rank, world_size):
    """State and log after two search steps."""
    fuser = dict(
        type='SearchableTIM',
        cells=[dict(kind='chain', length=2)],
        candidates=('residual_3_1', 'eca_3', 'spatial_3'),
        width=4,
    )
    table = dict(
        milliseconds={f'cells.0.{i}': dict(residual_3_1=3.0, eca_3=2.0, spatial_3=1.0) for i in range(2)},
        machine=dict(device='x'),
        size=(16, 16),
    )
    model = frozen_statistics(
        MODELS.build(
            dict(
                type='SearchCoupling',
                fuser=fuser,
                fusion_loss=dict(l1=dict(type='L1FusionLoss')),
                tasks=dict(seg=tiny_models.segmentor()),
                upper='both',
                latency_table=table,
                latency_weight=0.1,
            )
        )
    )
    wrapped(model, world_size)
    optimizers = make_optimizers(model, 'fuser', 'architecture', 'tasks')
    for _ in range(2):
        log = model.search_step(share(rank, world_size), share(rank, world_size, seed=1), optimizers)
    return model.state_dict(), log


def meta_init(rank, world_size, algorithm):
    """State and log after two steps of the initialization on one of two episodes, or both; batch norm in training
    mode.
    """
    model = MODELS.build(
        dict(
            type='MetaInitCoupling',
            fuser=dict(type='TinyNormFuser'),
            fusion_loss=LOSS,
            inner_steps=2,
            algorithm=algorithm,
            inner_optimizer=dict(type='SGD', lr=0.05),
        )
    ).train()
    wrapped(model, world_size)
    optimizer = OptimWrapper(torch.optim.SGD(model.fuser.parameters(), lr=0.5))
    dataset = FusionTasksDataset(TASKS)
    episodes = [range(6), range(8, 14)]  # six pairs of the first task, six of the second
    indices = [
        index for episode in episodes[rank * 2 // world_size : (rank + 1) * 2 // world_size] for index in episode
    ]
    for _ in range(2):
        log = model.train_step(pseudo_collate([dataset[index] for index in indices]), optimizer)
    assert model.fuser.norm.running_mean.abs().min() > 0
    return model.state_dict(), log


CASES = dict(
    bilevel=bilevel,
    search=search,
    reptile=lambda *args: meta_init(*args, 'reptile'),
    fomaml=lambda *args: meta_init(*args, 'fomaml'),
)


def run(rank, world_size):
    """Copies of what all cases return."""
    register_all_modules()
    results = {}
    for name, case in CASES.items():
        torch.manual_seed(rank)  # processes draw weights of their own, and are given those of the first one
        results[name] = tuple({key: value.clone() for key, value in part.items()} for part in case(rank, world_size))
    return results


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    return run(0, 1), in_two_processes(run, tmp_path_factory.mktemp('own_steps'))


@pytest.mark.parametrize('case', CASES)
def test_two_processes_equal_one(results, case):
    single, log = results[0][case]
    (first, first_log), (second, second_log) = (result[case] for result in results[1])
    for name, wanted in single.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(
            first[name], wanted, atol=1e-5, rtol=1e-4, msg=lambda message, name=name: f'{name}: {message}'
        )
    # losses are those of the process, as everywhere in mmengine; what compares gradients is the same everywhere
    torch.testing.assert_close((first_log['loss'] + second_log['loss']) / 2, log['loss'], atol=1e-5, rtol=1e-4)
    shared = [key for key in log if key.startswith(('bilevel.', 'search.'))]
    assert len(shared) == dict(bilevel=2, search=3).get(case, 0)
    assert all(torch.equal(first_log[key], second_log[key]) for key in shared)


def test_loop_that_passes_over_the_step_is_refused(monkeypatch):
    from mmengine.runner import EpochBasedTrainLoop
    from torch.nn.parallel import DistributedDataParallel

    coupling = SimpleNamespace(averages_gradients=True, loop='CouplingTrainLoop')
    parallel = DistributedDataParallel.__new__(DistributedDataParallel)
    monkeypatch.setattr(DistributedDataParallel, 'module', coupling, raising=False)
    for loop, model in (
        (EpochBasedTrainLoop, parallel),
        (CouplingTrainLoop, parallel),
        (EpochBasedTrainLoop, coupling),
    ):
        if loop is EpochBasedTrainLoop and model is parallel:
            with pytest.raises(UserError, match='CouplingTrainLoop'):
                check_loop(model, loop.__new__(loop))
        else:
            check_loop(model, loop.__new__(loop))
