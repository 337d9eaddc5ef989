"""What training depends on happens whatever list of hooks a config has, by epochs and by iterations, and once."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import Runner
from tiny_config import CONFIGS
from tiny_fusion_tasks import LOSS
from tiny_runner import NoisyDataset
from tiny_sweep import FUSER, L1, make_runner, state
from torch.utils.data import DataLoader
from two_processes import in_two_processes

from mmfusion.engine.hooks import RuntimeInfoHook, epoch_seed_hook, iterations_per_epoch
from mmfusion.utils import register_all_modules

WARMUP = dict(
    task=dict(
        type='TaskFusionLoss',
        default='a',
        warmup_epochs=2,
        fusion_tasks=dict(a=dict(pixel=dict(type='L1FusionLoss'))),
        warmup=dict(a=dict(pixel=dict(type='L1FusionLoss', loss_weight=100.0))),
    )
)
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-4))


class Watch(torch.nn.Module):
    """Test double: a part that keeps the epochs that it was told."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


def watched(folder, loop, hooks=(), iterations=6, length=4, **options):
    """A runner over four pairs in batches of two, with a part that listens."""
    cfg = (
        dict(type=loop, max_iters=iterations)
        if loop == 'IterBasedTrainLoop'
        else dict(type=loop, max_epochs=iterations // 2)
    )
    runner = make_runner(
        folder,
        dict(type='FusionOnly', fuser=FUSER, fusion_loss=WARMUP),
        SGD,
        loop,
        train_cfg=cfg,
        hooks=hooks,
        loader=dict(batch_size=2, dataset=dict(type='SweepPairs', length=length)),
        **options,
    )
    runner.model.watch = Watch()
    return runner


@pytest.mark.parametrize('loop', ['EpochBasedTrainLoop', 'CouplingTrainLoop', 'IterBasedTrainLoop'])
def test_warm_up_ends_without_any_hook_in_the_config(tmp_path, monkeypatch, loop):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    runner = watched(tmp_path, loop)
    runner.train()
    assert list(dict.fromkeys(runner.model.watch.epochs)) == [0, 1, 2]
    losses = runner.message_hub.log_scalars['train/loss'].data[0]
    assert losses[:4].min() > 20 * losses[4:].max(), (
        'the loss of the warm-up is a hundred times that of the other epochs'
    )


def test_the_tools_config_with_a_list_of_its_own(tmp_path):
    """A shipped config whose ``custom_hooks`` a user replaced."""
    cfg = Config.fromfile(CONFIGS / 'tc_moa_demo.py')
    cfg.custom_hooks = []
    cfg.default_hooks = dict(checkpoint=None)
    cfg.merge_from_dict(
        dict(work_dir=str(tmp_path), log_level='ERROR', train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=1))
    )
    runner = Runner.from_cfg(cfg)
    assert any(isinstance(hook, RuntimeInfoHook) for hook in runner.hooks)


def test_nothing_is_done_twice(tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(epoch_seed_hook, 'seed_everything', seeds.append)
    runner = watched(
        tmp_path,
        'EpochBasedTrainLoop',
        [dict(type='EpochSeedHook'), dict(type='mmdet.SetEpochInfoHook'), dict(type='SyncBuffersHook')],
    )
    runner.train()
    assert len(seeds) == len(set(seeds)) == 3
    assert sorted(set(runner.model.watch.epochs)) == [0, 1, 2]


def test_validation_alone_builds_no_training_set(tmp_path):
    runner = make_runner(
        tmp_path,
        dict(type='FusionOnly', fuser=FUSER, fusion_loss=L1),
        SGD,
        val_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='SweepPairs', length=2),
        ),
        val_cfg=dict(type='ValLoop'),
        val_evaluator=[dict(type='FusionMetric', metrics=['EN'])],
    )
    runner.val()
    assert isinstance(runner._train_loop, dict)


@pytest.mark.parametrize(('world_size', 'wanted'), [(1, 4), (2, 2), (3, 2)])
def test_epochs_by_iterations_are_passes_of_all_processes(monkeypatch, world_size, wanted):
    monkeypatch.setattr('mmfusion.engine.hooks.runtime_info_hook.get_world_size', lambda: world_size)
    data = NoisyDataset()  # 8 samples
    assert iterations_per_epoch(DataLoader(data, batch_size=2, sampler=InfiniteSampler(data))) == wanted
    sampler = DefaultSampler(data)
    sampler.num_samples = -(-8 // world_size)  # as it is in several processes
    assert iterations_per_epoch(DataLoader(data, batch_size=2, sampler=sampler)) == wanted
    assert iterations_per_epoch(SimpleNamespace(__len__=None)) is None


def buffers(rank, world_size):
    """Buffers of a batch norm after three iterations of two loops, and those that a checkpoint on the way holds."""
    register_all_modules()
    os.environ['LOCAL_RANK'] = str(rank)
    folder, found = Path(os.environ['SWEEP_FOLDER']), {}
    for loop in ('EpochBasedTrainLoop', 'IterBasedTrainLoop'):
        checkpoint = dict(type='CheckpointHook', interval=2, by_epoch=loop == 'EpochBasedTrainLoop', save_last=False)
        runner = make_runner(
            folder / loop,
            dict(type='FusionOnly', fuser=dict(type='TinyNormFuser'), fusion_loss=LOSS),
            SGD,
            loop,
            world_size,
            default_hooks=dict(checkpoint=checkpoint),
        )
        runner.train()
        found[loop] = state(runner)['fuser.norm.running_mean']
    torch.distributed.barrier()
    found['saved'] = torch.load(folder / 'IterBasedTrainLoop' / 'iter_2.pth', weights_only=False)['state_dict'][
        'fuser.norm.running_mean'
    ]
    runner = make_runner(
        folder / 'again',
        dict(type='FusionOnly', fuser=dict(type='TinyNormFuser'), fusion_loss=LOSS),
        SGD,
        'IterBasedTrainLoop',
        world_size,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
        default_hooks=dict(checkpoint=None, runtime_info=dict(type='RuntimeInfoHook', sync_buffers=False)),
    )
    runner.train()
    found['apart'] = state(runner)['fuser.norm.running_mean']
    return found


def test_processes_save_one_and_the_same_network(tmp_path, monkeypatch):
    monkeypatch.setenv('SWEEP_FOLDER', str(tmp_path))
    first, second = in_two_processes(buffers, tmp_path)
    assert torch.equal(first['EpochBasedTrainLoop'], second['EpochBasedTrainLoop'])
    assert not torch.equal(first['apart'], second['apart'])
    torch.testing.assert_close(first['saved'], (first['apart'] + second['apart']) / 2)
