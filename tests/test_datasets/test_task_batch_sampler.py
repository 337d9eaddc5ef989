"""TaskBatchSampler: one task a batch, turns, whole passes, processes side by side, resumed epochs, the loader of the
runner.
"""

from collections import Counter
from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import Runner
from tiny_fusion_tasks import TinyScenes

from mmfusion.datasets import FusionTasksDataset
from mmfusion.datasets.samplers import TaskBatchSampler

LENGTHS = dict(a=10, b=3, c=25)


@pytest.fixture(scope='module')
def dataset():
    return FusionTasksDataset({name: TinyScenes(length=length) for name, length in LENGTHS.items()})


def sampler(dataset, epoch=0, rank=0, world_size=1, seed=3, **options):
    base = DefaultSampler(dataset, seed=seed)
    base.rank, base.world_size = rank, world_size
    made = TaskBatchSampler(base, **{**dict(batch_size=4), **options})
    made.set_epoch(epoch)
    return made


def owners(dataset, batches):
    """Name of the task of each batch; fails where a batch mixes tasks."""
    names = [{name for name, indices in dataset.ranges().items() if set(batch) & set(indices)} for batch in batches]
    assert all(len(found) == 1 for found in names)
    return [found.pop() for found in names]


def of(dataset, name, batches):
    return [batch for batch, owner in zip(batches, owners(dataset, batches)) if owner == name]


def test_tasks_take_turns_and_the_lead_is_seen_once(dataset):
    batches = list(sampler(dataset))
    assert owners(dataset, batches) == ['a', 'b', 'c'] * 3 and len(sampler(dataset)) == 9
    lead = of(dataset, 'a', batches)
    assert [len(batch) for batch in lead] == [4, 4, 2]  # the last one is not dropped
    assert sorted(sum(lead, [])) == list(range(10))
    restarted = sum(of(dataset, 'b', batches), [])
    assert [sorted(restarted[start : start + 3]) for start in range(0, 12, 3)] == [[10, 11, 12]] * 4  # whole passes
    assert len({tuple(restarted[start : start + 3]) for start in range(0, 12, 3)}) > 1  # shuffled anew
    part = sum(of(dataset, 'c', batches), [])
    assert len(part) == len(set(part)) == 12


def test_other_leads_repeats_and_lengths(dataset):
    batches = list(sampler(dataset, lead='c', repeats=dict(c=3, b=2), drop_last=True))
    assert owners(dataset, batches) == list('abbccc' * 2) and {len(batch) for batch in batches} == {4}
    batches = list(sampler(dataset, lead='c', repeats=dict(c=3)))
    assert owners(dataset, batches) == list('abccc' * 2 + 'abc') and [
        len(batch) for batch in of(dataset, 'c', batches)
    ] == [4] * 6 + [1]
    assert sorted(sum(of(dataset, 'c', batches), [])) == list(range(13, 38))
    batches = list(sampler(dataset, batches_per_epoch=5))
    assert owners(dataset, batches) == list('abcab') and {len(batch) for batch in batches} == {4}
    for options in (dict(lead='c', repeats=dict(c=3)), dict(batches_per_epoch=5)):
        assert len(list(sampler(dataset, **options))) == len(sampler(dataset, **options))


@pytest.mark.parametrize('world_size', [2, 3, 4])
def test_processes_agree_on_the_task_and_share_the_samples(dataset, world_size):
    ranks = [list(sampler(dataset, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert len({tuple(owners(dataset, batches)) for batches in ranks}) == 1
    assert len({tuple(map(len, batches)) for batches in ranks}) == 1 and len(ranks[0]) == len(
        sampler(dataset, world_size=world_size)
    )
    share = -(-10 // world_size)
    lead = [sum(of(dataset, 'a', batches), []) for batches in ranks]
    assert {len(samples) for samples in lead} == {share}
    counts = Counter(sum(lead, []))
    assert (
        set(counts) == set(range(10)) and sum(counts.values()) - 10 == share * world_size - 10
    )  # nothing twice but what fills up
    first_pass = [sum(of(dataset, 'c', batches), [])[: 25 // world_size] for batches in ranks]
    assert len(set(sum(first_pass, []))) == len(sum(first_pass, []))  # disjoint


def test_epochs_repeat_after_a_resume(dataset):
    batches = list(sampler(dataset, epoch=2))
    resumed = sampler(dataset)
    assert list(resumed) != batches
    resumed.set_epoch(2)
    assert list(resumed) == batches == list(resumed)
    assert list(sampler(dataset, epoch=2, seed=4)) != batches


@pytest.mark.parametrize(
    'options, error, message',
    [
        (dict(batch_size=0), ValueError, 'batch_size must be at least 1'),
        (dict(batches_per_epoch=0), ValueError, 'batches_per_epoch must be at least 1'),
        (dict(repeats=dict(a=0)), ValueError, r"repeats\['a'\] must be at least 1"),
        (dict(lead='d'), ValueError, r"unknown tasks \['d'\]; the data set has \['a', 'b', 'c'\]"),
        (dict(repeats=dict(e=2)), ValueError, 'unknown tasks'),
        (dict(lead='a', batches_per_epoch=3), ValueError, 'not both'),
        (dict(lead='b', drop_last=True), ValueError, "drop_last leaves no batch of task 'b', which has 3 samples"),
    ],
)
def test_errors(dataset, options, error, message):
    with pytest.raises(error, match=message):
        sampler(dataset, **options)


def test_a_set_without_tasks_is_refused(dataset):
    with pytest.raises(TypeError, match='TaskBatchSampler draws from a FusionTasksDataset, got TinyScenes'):
        sampler(dataset.datasets[0])


def test_a_sampler_without_epochs_is_refused(dataset):
    with pytest.raises(TypeError, match='needs sampler = .*DefaultSampler.*got InfiniteSampler'):
        TaskBatchSampler(InfiniteSampler(dataset), batch_size=4)


def test_loader_of_the_runner_with_workers():
    """The hook that tells samplers the epoch reaches the sampler inside; workers change nothing."""
    from mmengine.hooks import DistSamplerSeedHook

    part = dict(type='TinyScenes')
    config = dict(
        batch_size=4,
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='TaskBatchSampler', lead='a'),
        dataset=dict(
            type='FusionTasksDataset',
            fusion_tasks=dict(a=dict(part, length=6), b=[dict(part, length=2), dict(part, length=3, seed=5)]),
        ),
    )
    seen = []
    for workers in (0, 2):
        loader = Runner.build_dataloader(dict(config, num_workers=workers), seed=1)
        DistSamplerSeedHook().before_train_epoch(
            SimpleNamespace(train_loop=SimpleNamespace(dataloader=loader), epoch=3)
        )
        assert loader.batch_sampler.sampler.epoch == 3 and len(loader) == 4
        seen.append([[(sample.fusion_task, sample.sample_id) for sample in data['data_samples']] for data in loader])
    assert seen[0] == seen[1]
    assert [{task for task, _ in batch} for batch in seen[0]] == [{'a'}, {'b'}, {'a'}, {'b'}]


def test_several_sets_make_one_task():
    dataset = FusionTasksDataset(
        dict(a=TinyScenes(length=2), b=[TinyScenes(length=2), TinyScenes(length=3)], c=TinyScenes(length=1))
    )
    assert dataset.ranges() == dict(a=range(2), b=range(2, 7), c=range(7, 8))
    assert [dataset[index]['data_samples'].fusion_task for index in range(8)] == list('aabbbbbc')
    other = FusionTasksDataset(
        dict(a=TinyScenes(length=2), b=[TinyScenes(length=2), TinyScenes(length=4)], c=TinyScenes(length=1))
    )
    assert dataset.metainfo['split_hash'] != other.metainfo['split_hash']
    with pytest.raises(ValueError, match="'b' is empty"):
        FusionTasksDataset(dict(a=TinyScenes(length=2), b=[]))
    with pytest.raises(TypeError, match="'a' has a ConcatDataset; give data sets, or a list of them"):
        FusionTasksDataset(dict(a=dict(type='ConcatDataset', datasets=[dict(type='TinyScenes')])))


def test_a_run_without_a_seed_draws_by_that_of_the_runner(dataset):
    """mmengine draws another seed for the sampler when the config has none, and a resumed run another one again."""
    from mmfusion.engine import EpochSeedHook

    loaders = [SimpleNamespace(sampler=None, batch_sampler=sampler(dataset, seed=seed)) for seed in (3, 4)]
    assert list(loaders[0].batch_sampler) != list(loaders[1].batch_sampler)
    for loader in loaders:
        EpochSeedHook().before_train(SimpleNamespace(iter=0, seed=9, train_dataloader=loader))
    assert list(loaders[0].batch_sampler) == list(loaders[1].batch_sampler) == list(sampler(dataset, seed=9))
