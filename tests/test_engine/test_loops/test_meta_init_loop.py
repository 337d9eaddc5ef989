"""MetaInitLoop on small synthetic tasks: logs, exact resuming, clear errors; and that what it learns adapts faster than
random weights.
"""

import copy
import itertools
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_fusion_tasks import HELD_OUT, LOSS, TASKS
from tiny_runner import StopAfterEpochs

from mmfusion.evaluation.metrics import FusionMetric
from mmfusion.experiments.adaptation import adaptation_curves, adaptation_settings, rate, run_adaptation
from mmfusion.experiments.adaptation_report import curve, steps_to_reach, write_report
from mmfusion.registry import MODELS
from mmfusion.running.training import check_start_weights
from mmfusion.utils import UserError, load_fusion_checkpoint

COUNT = itertools.count()


def config(work_dir, epochs=2, batches=4, **model):
    return Config(
        dict(
            model=dict(
                dict(
                    type='MetaInitCoupling',
                    fuser=dict(type='TinyNormFuser'),
                    fusion_loss=LOSS,
                    inner_steps=3,
                    inner_optimizer=dict(type='Adam', lr=0.01, betas=(0.0, 0.999)),
                ),
                **model,
            ),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                batch_sampler=dict(
                    type='EpisodeBatchSampler', inner_steps=3, tasks_per_batch=2, batches_per_epoch=batches
                ),
                dataset=dict(type='FusionTasksDataset', fusion_tasks=TASKS),
            ),
            test_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(HELD_OUT, length=3, seed=10),
            ),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=[dict(type='FusionMetric', metrics=['EN'])],
            adaptation=dict(
                dataloader=dict(
                    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), dataset=HELD_OUT
                ),
                optimizer=dict(type='Adam', lr=0.01),
                points=(0, 1, 3, 10),
                metrics=['SSIM', 'SD'],
            ),
            train_cfg=dict(type='MetaInitLoop', max_epochs=epochs),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.7)),
            param_scheduler=[
                dict(type='CosineAnnealingLR', eta_min_ratio=0.1, by_epoch=True, begin=0, convert_to_iter_based=True)
            ],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=2)
            ),
            custom_hooks=[dict(type='EpochSeedHook')],
            randomness=dict(seed=5),
            default_scope='mmfusion',
            work_dir=str(work_dir),
            log_level='WARNING',
            experiment_name=f'meta_init_{next(COUNT)}',
        )
    )


def train(cfg, stop_after=None, **changes):
    cfg = copy.deepcopy(cfg)
    for key, value in changes.items():
        cfg[key] = value
    if stop_after:
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type=StopAfterEpochs, epochs=stop_after)]
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run of 20 steps, whose checkpoint several tests look at."""
    folder = tmp_path_factory.mktemp('meta_init')
    runner = train(config(folder, epochs=2, batches=10))
    return runner, str(folder / 'epoch_2.pth')


def test_every_task_is_logged_and_gets_better(trained):
    runner, _ = trained
    scalars = runner.message_hub.log_scalars
    means = []
    for name in TASKS:
        before, after = (scalars[f'train/{name}.loss_{when}'].data[0] for when in ('before', 'after'))
        assert len(before) >= 10 and before[-1] < 0.7 * before[0]
        means.append((before.mean(), after.mean()))
    before, after = map(sum, zip(*means))
    assert after < before  # the inner steps pay, though they are judged on other pairs
    assert len(scalars['train/loss'].data[0]) == len(scalars['train/meta.distance'].data[0]) == 20
    assert scalars['train/lr'].data[0][-1] < 0.2


def test_resuming_is_exact(tmp_path):
    whole = train(config(tmp_path / 'whole'))
    train(config(tmp_path / 'pieces'), stop_after=1)
    pieces = train(config(tmp_path / 'pieces'), resume=True)
    for (name, a), b in zip(whole.model.state_dict().items(), pieces.model.state_dict().values()):
        assert torch.equal(a, b), name


def test_the_checkpoint_starts_any_coupling_with_the_fuser(trained):
    runner, path = trained
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='TinyNormFuser'), fusion_loss=LOSS))
    check_start_weights(coupling, path)
    load_fusion_checkpoint(coupling, path)  # strict
    assert all(torch.equal(value, runner.model.state_dict()[name]) for name, value in coupling.state_dict().items())


def test_wrong_loops_and_samplers_are_named(tmp_path):
    with pytest.raises(UserError, match='no episodes'):
        train(config(tmp_path), model=dict(type='FusionOnly', fuser=dict(type='TinyNormFuser'), fusion_loss=LOSS))
    with pytest.raises(UserError, match='draws for inner_steps=3, and MetaInitCoupling takes inner_steps=2'):
        train(config(tmp_path, inner_steps=2))
    cfg = config(tmp_path)
    del cfg.train_dataloader['batch_sampler']
    with pytest.raises(UserError, match='no EpisodeBatchSampler'):
        train(cfg)


# Adaptation ---------------------------------------------------------------------------------------------------------


def test_meta_initialisation_learns_a_held_out_task_faster(trained, tmp_path):
    _, checkpoint = trained
    cfg = config(tmp_path)
    results = adaptation_curves(cfg, dict(meta=[checkpoint]), [0, 1, 2], tmp_path)
    steps, meta, _ = curve(results, 'meta', 'loss')
    _, random, spread = curve(results, 'random', 'loss')
    assert steps == [0, 1, 3, 10] and spread[0] > 0
    assert all(a < b for a, b in zip(meta, random))  # at every point of the curve
    assert meta[1] < random[3]  # one step from the initialization is worth more than ten from random weights
    assert steps_to_reach(results, 'meta', 'random', 1) == '> 10'
    for seed in range(3):  # with every seed, not on the average alone
        a, b = (
            next(r['rows'] for r in results if (r['init'], r['seed']) == (init, seed)) for init in ('meta', 'random')
        )
        assert a[-1]['loss'] < b[-1]['loss'] and a[0]['SSIM'] > b[0]['SSIM']

    paths = write_report(results, tmp_path)
    table = (tmp_path / 'adaptation.md').read_text()
    assert '| meta | 3 |' in table and table.count('| random | 3 |') == 3
    assert len((tmp_path / 'adaptation.csv').read_text().splitlines()) == 1 + 6 * 4
    assert Path(paths['png']).read_bytes()[:4] == b'\x89PNG'

    # finished runs are read, not repeated; other settings are an error
    stored = tmp_path / 'meta_seed0.json'
    content = json.loads(stored.read_text())
    content['rows'][0]['loss'] = -1.0
    stored.write_text(json.dumps(content))
    assert run_adaptation(cfg, 'meta', checkpoint, 0, tmp_path)['rows'][0]['loss'] == -1.0
    cfg.adaptation.optimizer.lr = 0.02
    with pytest.raises(UserError, match='another config or checkpoint'):
        run_adaptation(cfg, 'meta', checkpoint, 0, tmp_path)


def test_the_same_seed_gives_the_same_curve_and_rating_changes_nothing(trained, tmp_path):
    _, checkpoint = trained
    cfg = config(tmp_path)
    a = run_adaptation(cfg, 'a', checkpoint, 4, tmp_path)['rows']
    b = run_adaptation(cfg, 'b', checkpoint, 4, tmp_path)['rows']
    assert a == b
    cfg.adaptation.points = [10]  # the same training with fewer looks at it
    assert run_adaptation(cfg, 'c', checkpoint, 4, tmp_path)['rows'] == a[-1:]


@pytest.mark.parametrize('training', [True, False])
def test_rating_leaves_the_coupling_as_it_was(tmp_path, training):
    cfg = config(tmp_path)
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='TinyNormFuser'), fusion_loss=LOSS)).train(training)
    before = copy.deepcopy(coupling.state_dict())
    loaders = [
        Runner.build_dataloader(copy.deepcopy(part), seed=0)
        for part in (cfg.adaptation.dataloader, cfg.test_dataloader)
    ]
    assert rate(coupling, *loaders, FusionMetric(metrics=['SD']))['loss'] > 0
    assert {module.training for module in coupling.modules()} == {training} and coupling.fuser.norm.momentum == 0.1
    assert all(torch.equal(value, before[name]) for name, value in coupling.state_dict().items())


def test_bad_settings(tmp_path):
    cfg = config(tmp_path)
    for change, message in ((dict(points=[3, 1]), 'increasing'), (dict(steps=3), 'unknown keys')):
        bad = copy.deepcopy(cfg)
        bad.adaptation.update(change)
        with pytest.raises(UserError, match=message):
            adaptation_settings(bad)
    with pytest.raises(UserError, match='choose another'):
        adaptation_curves(cfg, dict(random=['x']), [0], tmp_path)
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), other)
    with pytest.raises(UserError, match='no initialization of the fuser'):
        run_adaptation(cfg, 'other', str(other), 0, tmp_path)
