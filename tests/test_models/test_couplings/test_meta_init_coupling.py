"""MetaInitCoupling: outer gradients against a slow twin, what an episode leaves behind, buffers, errors."""

import copy

import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.optim import OptimWrapper
from tiny_fusion_tasks import LOSS, TASKS
from torch import nn

from mmfusion.datasets import FusionTasksDataset
from mmfusion.datasets.samplers import EpisodeBatchSampler
from mmfusion.engine import BFloat16OptimWrapper
from mmfusion.models.couplings import MetaInitCoupling
from mmfusion.registry import MODELS
from mmfusion.utils import UserError


def make(**options):
    coupling = MODELS.build(
        dict(
            dict(
                type='MetaInitCoupling',
                fuser=dict(type='TinyNormFuser'),
                fusion_loss=LOSS,
                inner_steps=3,
                inner_optimizer=dict(type='SGD', lr=0.05, momentum=0.5),
            ),
            **options,
        )
    )
    return coupling.train()


def make_batch(inner_steps=3, tasks_per_batch=2):
    dataset = FusionTasksDataset(copy.deepcopy(TASKS))
    sampler = EpisodeBatchSampler(
        DefaultSampler(dataset, seed=1), batch_size=2, inner_steps=inner_steps, tasks_per_batch=tasks_per_batch
    )
    return pseudo_collate([dataset[index] for index in next(iter(sampler))])


def plain_loss(coupling, batch):
    """Fusion loss of a batch, spelled out."""
    images = [torch.stack(batch['inputs'][name]).float() / 255 for name in ('first', 'second')]
    return coupling.fusion_loss.saliency(coupling.fuser(*images).fused, *images)


def twin(coupling, batches):
    """Slow twin: a deep copy learns by ordinary backward passes; gradients of both algorithms."""
    copied = copy.deepcopy(coupling)
    parameters = [p for name, p in copied.fuser.named_parameters() if name != 'unused']
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.5)
    losses = []
    for batch in batches[:-1]:
        optimizer.zero_grad()
        loss = plain_loss(copied, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()
    judged = plain_loss(copied, batches[-1])
    judged.backward()
    start = [p for name, p in coupling.fuser.named_parameters() if name != 'unused']
    reptile = [(a - b).detach() for a, b in zip(start, parameters)]
    return reptile, [p.grad for p in parameters], losses, judged.item(), list(copied.fuser.buffers())


@pytest.mark.parametrize('algorithm', ['reptile', 'fomaml'])
def test_step_against_a_slow_twin(algorithm):
    coupling, data = make(algorithm=algorithm), make_batch()
    before = copy.deepcopy(coupling.fuser.state_dict())
    episodes = coupling.split_episodes(data)
    twins = [twin(coupling, batches) for _, batches in episodes]
    wrapper = OptimWrapper(torch.optim.SGD(coupling.fuser.parameters(), lr=0.7))
    log = coupling.train_step(data, wrapper)
    gradients = [torch.stack(both).mean(0) for both in zip(*(t[algorithm == 'fomaml'] for t in twins))]
    learned = [name for name, _ in coupling.fuser.named_parameters() if name != 'unused']
    for name, gradient in zip(learned, gradients):
        torch.testing.assert_close(
            coupling.fuser.state_dict()[name], before[name] - 0.7 * gradient, rtol=1e-5, atol=1e-7
        )
    assert torch.equal(coupling.fuser.unused, torch.ones(2))
    assert all(parameter.grad is None for parameter in coupling.parameters())
    for (name, _), result in zip(episodes, twins):
        assert log[f'{name}.loss_before'].item() == pytest.approx(result[2][0], rel=1e-5)
        assert log[f'{name}.loss_after'].item() == pytest.approx(result[3], rel=1e-5)
    assert log['loss'].item() == pytest.approx(sum(result[3] for result in twins) / 2, rel=1e-5)
    length = sum(sum(g.square().sum() for g in t[algorithm == 'fomaml']).sqrt().item() for t in twins) / 2
    assert log['meta.distance'].item() == pytest.approx(length, rel=1e-4)
    # batch norm statistics: the mean after both episodes, the count that of one
    mean = torch.stack([result[4][0] for result in twins]).mean(0)
    torch.testing.assert_close(coupling.fuser.norm.running_mean, mean)
    assert coupling.fuser.norm.num_batches_tracked == 4


def test_an_episode_leaves_the_fuser_as_it_was():
    coupling = make()
    before = copy.deepcopy(coupling.state_dict())
    _, batches = coupling.split_episodes(make_batch())[0]
    first, second = coupling.run_episode(batches), coupling.run_episode(batches)
    assert all(torch.equal(value, before[name]) for name, value in coupling.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(first.gradients, second.gradients))  # the inner optimizer begins anew
    assert first.before > first.after

    coupling.fuser.head.register_forward_hook(lambda *args: (_ for _ in ()).throw(RuntimeError('out of memory')))
    with pytest.raises(RuntimeError, match='out of memory'):
        coupling.run_episode(batches)
    assert all(torch.equal(value, before[name]) for name, value in coupling.state_dict().items())


def test_without_inner_steps_it_is_plain_training_on_all_tasks():
    coupling, data = make(algorithm='fomaml', inner_steps=0), make_batch(inner_steps=0, tasks_per_batch=3)
    plain = copy.deepcopy(coupling)
    losses = [plain_loss(plain, batch) for _, (batch,) in plain.split_episodes(data)]
    (sum(losses) / 3).backward()
    coupling.train_step(data, OptimWrapper(torch.optim.SGD(coupling.fuser.parameters(), lr=1.0)))
    for new, old in zip(coupling.fuser.stem.parameters(), plain.fuser.stem.parameters()):
        torch.testing.assert_close(new, old - old.grad)


def test_constant_buffers_and_counts_stay_exact():
    coupling = make(inner_steps=1, inner_optimizer=dict(type='Adam', lr=1e-3))
    coupling.fuser.register_buffer('filter', torch.tensor([1 / 3, 0.1, 1 / 7, float('-inf')]))
    before = coupling.fuser.filter.clone()
    for _ in range(3):
        coupling.train_step(
            make_batch(inner_steps=1, tasks_per_batch=3), OptimWrapper(torch.optim.Adam(coupling.fuser.parameters()))
        )
    assert torch.equal(coupling.fuser.filter, before)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(algorithm='maml'), 'algorithm'),
        (dict(inner_steps=0), 'inner_steps of at least 1'),
        (dict(algorithm='fomaml', inner_steps=-1), 'at least 0'),
        (dict(fusion_loss=None), 'empty'),
        (dict(fuser=dict(type='MaximumFuser')), 'no trainable parameters'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_bad_batches_and_optimizers():
    coupling, data = make(), make_batch()
    wrapper = OptimWrapper(torch.optim.SGD(coupling.fuser.parameters(), lr=1.0))
    with pytest.raises(UserError, match='do not make 4 equal batches'):
        coupling.train_step(make_batch(inner_steps=2), wrapper)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(fusion_task=None))
    with pytest.raises(UserError, match='FusionTasksDataset'):
        coupling.train_step(data, wrapper)
    with pytest.raises(UserError, match='accumulative_counts'):
        coupling.train_step(make_batch(), OptimWrapper(wrapper.optimizer, accumulative_counts=2))
    with pytest.raises(UserError, match='float32'):
        coupling.train_step(make_batch(), BFloat16OptimWrapper(optimizer=wrapper.optimizer))


def test_a_colour_task_and_a_moe_fuser_with_random_gates():
    """Any fuser: one with noise in its gates and auxiliary losses, on RGB and gray."""
    moe = dict(
        type='MoEFusion',
        base_channels=4,
        expert_channels=4,
        decoder_channels=(8,),
        local_grid=(4, 4),
        global_grid=(4, 4),
    )
    coupling = make(fuser=moe, inner_steps=1)
    pipeline = [dict(type='LoadPair'), dict(type='PackFusionInputs')]
    dataset = FusionTasksDataset(dict(street=dict(type='DemoPairs', length=4, size=(64, 64), pipeline=pipeline)))
    before = copy.deepcopy(coupling.state_dict())
    log = coupling.train_step(
        pseudo_collate([dataset[i] for i in range(4)]),
        OptimWrapper(torch.optim.Adam(coupling.fuser.parameters(), lr=1e-3)),
    )
    assert (
        torch.isfinite(log['loss']) and isinstance(coupling, MetaInitCoupling) and isinstance(coupling.fuser, nn.Module)
    )
    assert any(not torch.equal(value, before[name]) for name, value in coupling.state_dict().items())
