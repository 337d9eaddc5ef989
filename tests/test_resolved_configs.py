"""Resolved configs of version 0.1.0 and of today: equal, but for the renamed keys and the deliberate changes that are
listed here.
"""

import copy
import io
import subprocess
import tarfile

import pytest
import resolved_configs
from mmengine.hooks import SyncBuffersHook

from mmfusion.registry import HOOKS

FORMER = resolved_configs.read()
#: Keys of today with their names in version 0.1.0.
RENAMED = {'fusion_task': 'task', 'fusion_tasks': 'tasks'}
#: Hooks that version 0.1.0 listed; RuntimeInfoHook, which every runner has, does their work now.
RUNTIME_HOOKS = ('EpochSeedHook', 'mmdet.SetEpochInfoHook', 'SyncBuffersHook')
#: Segmentors that cannot train on a last batch of one picture: it is left out now.
LAST_BATCH_LEFT_OUT = ('moe_fusion_fmb_deeplabv3plus', 'moe_fusion_mfnet')


@pytest.fixture(scope='module')
def today(repo_dir):
    return resolved_configs.resolve(repo_dir / 'configs')


def former_names(value):
    """The same with renamed keys under their former names."""
    if isinstance(value, dict):
        return {RENAMED.get(key, key): former_names(part) for key, part in value.items()}
    return [former_names(part) for part in value] if isinstance(value, list) else value


def task_networks(cfg):
    """The detectors and segmentors of a config, the detector of a guide among them."""
    yield from cfg['model'].get('tasks', {}).values()
    guide = cfg['model'].get('guide') or {}
    if 'detector' in guide:
        yield guide['detector']


def without_deliberate_changes(cfg, name=''):
    """A resolved config in which nothing is left of what changed on purpose since version 0.1.0."""
    cfg = former_names(copy.deepcopy(cfg))
    cfg['custom_hooks'] = [hook for hook in cfg['custom_hooks'] if hook['type'] not in RUNTIME_HOOKS]
    # task networks start from published checkpoints, those of a `_from_scratch` config do not
    for network in task_networks(cfg):
        start = network.get('init_cfg')
        if start is None or start['type'] == 'mmfusion.PretrainedTask':
            network.pop('init_cfg', None)
    # frozen networks stay out of the optimizer
    if cfg['optim_wrapper'].get('constructor') == 'TrainableOptimWrapperConstructor':
        del cfg['optim_wrapper']['constructor']
    if name in LAST_BATCH_LEFT_OUT:
        assert cfg['train_dataloader'].pop('drop_last')
    return cfg


def differences(former, today):
    """Path, former value and value of today wherever two configs differ."""
    former, today = (dict(resolved_configs.leaves(cfg)) for cfg in (former, today))
    return [
        (path, former.get(path, 'absent'), today.get(path, 'absent'))
        for path in sorted(former.keys() | today.keys())
        if path not in former or path not in today or former[path] != today[path]
    ]


@pytest.mark.parametrize('name', FORMER)
def test_resolved_as_in_version_0_1(name, today):
    """Of a config that starts from pretrained task networks now, `_from_scratch` beside it is what it was."""
    same = f'{name}_from_scratch' if f'{name}_from_scratch' in today else name
    assert differences(without_deliberate_changes(FORMER[name]), without_deliberate_changes(today[same], same)) == []


def test_every_former_config_is_recorded():
    needed = {'model', 'train_dataloader', 'test_dataloader', 'train_cfg', 'optim_wrapper'}
    assert len(FORMER) == 43 and all(needed <= cfg.keys() for cfg in FORMER.values())
    assert resolved_configs.RECORD.stat().st_size < 2e4


def test_a_config_from_scratch_has_no_pretrained_task_network(today):
    """So that nothing hides behind what the comparison leaves out."""
    scratch = [name for name in today if name.endswith('_from_scratch')]
    assert len(scratch) > 10 and not [
        name for name in scratch if any(network.get('init_cfg') for network in task_networks(today[name]))
    ]


def test_hooks_that_are_not_listed_any_more_are_part_of_the_one_that_every_runner_has(today):
    from mmfusion.engine.hooks import runtime_info_hook

    assert (
        runtime_info_hook.EpochSeedHook is HOOKS.get('mmfusion.EpochSeedHook')
        and runtime_info_hook.SyncBuffersHook is SyncBuffersHook
    )
    assert not [
        name
        for name, cfg in today.items()
        if any(hook['type'] in RUNTIME_HOOKS for hook in cfg.get('custom_hooks', ()))
    ]


@pytest.mark.parametrize(
    'change',
    [
        lambda cfg: cfg['model']['tasks']['det']['backbone'].update(widen_factor=9.0),
        lambda cfg: cfg['optim_wrapper']['optimizer'].pop('lr'),
        lambda cfg: cfg['train_dataloader'].update(batch_size=7),
        lambda cfg: cfg['custom_hooks'].pop(),
        lambda cfg: cfg['model']['tasks']['det']['backbone'].update(
            init_cfg=dict(type='Pretrained', checkpoint='other.pth')
        ),
    ],
)
def test_a_change_is_found(change):
    former = without_deliberate_changes(FORMER['moe_fusion_llvip'])
    changed = copy.deepcopy(former)
    change(changed)
    assert differences(former, changed) != []


def test_the_record_is_made_from_that_version(repo_dir, tmp_path):
    """In a clone with its history the record is made again."""
    archive = subprocess.run(['git', 'archive', '87af940', 'configs'], cwd=repo_dir, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip('no history of this project')
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path, filter='data')
    assert resolved_configs.resolve(tmp_path / 'configs') == FORMER
