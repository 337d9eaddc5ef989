"""A run that was stopped and resumed must end where the uninterrupted one ends, bit by bit."""

from types import SimpleNamespace

import pytest
import torch
from tiny_runner import make_runner

from mmfusion.engine.hooks.epoch_seed_hook import EpochSeedHook, epoch_seed

SEED_HOOK = [dict(type='EpochSeedHook')]


def train_whole_and_in_pieces(tmp_path, hooks, seed=3, **options):
    """Four epochs in one go, and two and two; both begin with the same weights."""
    whole = make_runner(tmp_path / 'whole', 4, hooks=hooks, seed=seed, **options)
    start = {key: value.clone() for key, value in whole.model.state_dict().items()}
    whole.train()
    # without a configured seed the second run draws another one; a resumed run learns its seed from the checkpoint
    piece = make_runner(tmp_path / 'pieces', 4, stop_after=2, hooks=hooks, seed=whole.seed, **options)
    piece.model.load_state_dict(start)
    piece.train()
    assert piece.iter == 8
    resumed = make_runner(tmp_path / 'pieces', 4, resume=True, hooks=hooks, seed=seed, **options)
    resumed.train()
    assert whole.iter == resumed.iter == 16
    return whole.model, resumed.model


@pytest.mark.parametrize(('num_workers', 'seed', 'hooks'), [(0, 3, []), (2, 3, SEED_HOOK), (0, None, [])])
def test_resumed_run_equals_uninterrupted_one(tmp_path, num_workers, seed, hooks):
    """Also with an empty list of hooks."""
    whole, resumed = train_whole_and_in_pieces(tmp_path, hooks, seed=seed, num_workers=num_workers)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    for before, after in zip(whole.seen[8:], resumed.seen, strict=True):
        assert torch.equal(before, after)


def test_without_the_hook_the_runs_differ(tmp_path):
    """The test above can fail."""
    whole, resumed = train_whole_and_in_pieces(tmp_path, [], seed_epochs=False)
    assert not torch.equal(whole.layer.weight, resumed.layer.weight)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_epochs_see_different_augmentations(tmp_path, num_workers):
    runner = make_runner(tmp_path, 2, hooks=SEED_HOOK, num_workers=num_workers)
    runner.train()
    # index/8 + noise: removing the per-sample constant needs the order, so compare the noise within each sample
    spread = torch.cat(runner.model.seen).diff(dim=1)
    first, second = spread[:8], spread[8:]
    assert not any(torch.allclose(a, b) for a in first for b in second)


def test_warns_of_persistent_workers(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, 1, hooks=SEED_HOOK, num_workers=1, persistent_workers=True)
    messages = []
    monkeypatch.setattr(runner.logger, 'warning', messages.append)
    runner.train()
    assert any('persistent_workers' in message for message in messages)


def test_warns_when_resuming_training_by_iterations():
    messages = []
    runner = SimpleNamespace(
        iter=3, seed=1, train_loop=object(), train_dataloader=object(), logger=SimpleNamespace(warning=messages.append)
    )
    EpochSeedHook().before_train(runner)
    assert len(messages) == 1 and 'IterBasedTrainLoop' in messages[0]
    runner.iter = 0
    EpochSeedHook().before_train(runner)
    assert len(messages) == 1


def test_seeds_of_epochs_and_ranks_are_distinct():
    seeds = {epoch_seed(seed, epoch, rank) for seed in range(5) for epoch in range(20) for rank in range(4)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**32 for seed in seeds)
