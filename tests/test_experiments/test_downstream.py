"""The downstream protocol on pairs of a few pixels: what is fused, what the task network sees, what is kept, what the
result says.
"""

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_config import write_tiny_config

from mmfusion.experiments.downstream import downstream_config, fuse_sets, run_downstream
from mmfusion.fileio.errors import PairDataError
from mmfusion.registry import DATASETS, MODELS
from mmfusion.utils import UserError

BASES = Path(__file__).parents[2] / 'configs' / '_base_'
SEG = f"""
_base_ = ['{BASES}/default_runtime.py', '{BASES}/datasets/msrs_seg.py', '{BASES}/segmentors/fcn_small.py', '{BASES}/schedules/warmup_cosine.py']
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = 9
model = dict(type='JointCoupling', fuser=dict(type='AverageFuser'), fusion_loss=dict(pixel=dict(type='MaxIntensityLoss')), tasks=dict(seg=segmentor))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].transform.scale = test_pipeline[1].transform.scale = (48, 32)
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=2, num_workers=0, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
log_level = 'WARNING'
"""


@pytest.fixture
def task(tmp_path):
    """Four pairs for training, two for test, of 64x40, with class maps."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 4), ('test', 2)):
        for index in range(count):
            numbers = np.repeat(np.repeat(rng.integers(0, 3, (5, 8), dtype=np.uint8), 8, 0), 8, 1)
            for folder, image in (
                ('vi', rng.integers(0, 256, (40, 64, 3), np.uint8)),
                ('ir', numbers * 100),
                ('Segmentation_labels', numbers),
            ):
                path = tmp_path / 'MSRS' / split / folder / f'{split}{index}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), image)
    (tmp_path / 'task.py').write_text(SEG)
    cfg = Config.fromfile(tmp_path / 'task.py')
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = str(tmp_path / 'MSRS')
    return cfg


def test_fused_sets(task, tmp_path):
    folders = fuse_sets(task, 'MaximumFuser', tmp_path / 'fused')
    assert {part: Path(folder).name for part, folder in folders.items()} == dict(
        train='train', val='val', test='val'
    )  # one set, fused once
    names = [f'test{index}.png' for index in range(2)] + [f'train{index}.png' for index in range(4)]
    assert sorted(path.name for path in (tmp_path / 'fused').rglob('*.png')) == names
    fused = cv2.imread(str(tmp_path / 'fused' / 'train' / 'train1.png'))
    visible, infrared = (cv2.imread(str(tmp_path / 'MSRS' / 'train' / name / 'train1.png')) for name in ('vi', 'ir'))
    assert fused.shape == (40, 64, 3)  # size of the sources, not that of the pipeline
    weights = np.array([0.114, 0.587, 0.299])
    luma = np.maximum(visible @ weights, infrared @ weights)
    inside = ((fused > 0) & (fused < 255)).all(axis=2)
    assert inside.any() and np.abs((fused @ weights - luma)[inside]).max() < 1.5
    with pytest.raises(UserError, match=r'fused\.json belongs to another run \(fusion differ\)'):
        fuse_sets(task, 'AverageFuser', tmp_path / 'fused')


def test_only_what_is_missing_is_fused_again(task, tmp_path):
    folders = fuse_sets(task, 'AverageFuser', tmp_path / 'fused')
    lost, kept = Path(folders['train']) / 'train0.png', Path(folders['train']) / 'train1.png'
    content = lost.read_bytes()
    lost.unlink()
    kept.write_bytes(b'kept')
    fuse_sets(task, 'AverageFuser', tmp_path / 'fused')
    assert lost.read_bytes() == content and kept.read_bytes() == b'kept'


def test_the_task_network_sees_the_stored_picture(task, tmp_path):
    task.model.guide = dict(type='TwoStreamGuide')
    folders = fuse_sets(task, 'AverageFuser', tmp_path / 'fused')
    cfg = downstream_config(task, folders, 3, tmp_path / 'run')
    assert (
        cfg.model.fuser == dict(type='SourceFuser', source='first')
        and 'guide' not in cfg.model
        and 'fusion_loss' not in cfg.model
    )
    assert (
        cfg.model.tasks == task.model.tasks
        and cfg.optim_wrapper == task.optim_wrapper
        and cfg.randomness == dict(seed=3)
    )
    assert [metric['type'] for metric in cfg.test_evaluator] == ['SegIoUMetric']
    assert task.test_dataloader.dataset.pipeline[0].type == 'LoadPair'  # the config given is left as it was
    dataset = DATASETS.build(
        dict(cfg.test_dataloader.dataset, pipeline=[cfg.test_dataloader.dataset.pipeline[0], *task.test_pipeline[2:]])
    )
    item = dataset[0]
    inputs = {key: value[None].float() / 255 for key, value in item['inputs'].items()}
    seen = MODELS.build(cfg.model)(inputs, mode='tensor')[0].mul(255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    np.testing.assert_array_equal(seen[..., ::-1], cv2.imread(str(Path(folders['test']) / 'test0.png')))
    assert item['data_samples'].gt_sem_seg.data.shape == (1, 40, 64)
    (Path(folders['test']) / 'test1.png').unlink()
    with pytest.raises(PairDataError, match=r'no fused picture .*test1\.png'):
        dataset[1]
    assert cv2.imwrite(str(Path(folders['test']) / 'test1.png'), np.zeros((20, 64, 3), np.uint8))
    with pytest.raises(PairDataError, match='has 64x20 pixels, its sources have 64x40'):
        dataset[1]


def test_whole_run_and_what_is_kept(task, tmp_path):
    results = run_downstream(task, 'AverageFuser', [5], tmp_path / 'run', name='mean')
    assert [result['seed'] for result in results] == [5] and all(
        0 <= result['metrics']['seg/mIoU'] <= 100 for result in results
    )
    stored = json.loads((tmp_path / 'run' / 'seed5' / 'result.json').read_text())
    assert stored == results[0] and stored['variant'] == 'mean' and stored['fusion'] == 'AverageFuser'
    assert (
        stored['data']['train']['pairs'] == 4
        and len(stored['data']['test']['split_hash']) == 64
        and 'torch' in stored['versions']
    )
    again = Config.fromfile(tmp_path / 'run' / 'seed5' / 'config.py')
    assert again.model.fuser.type == 'SourceFuser' and again.randomness.seed == 5
    stored['metrics'] = {'seg/mIoU': 12.0}
    (tmp_path / 'run' / 'seed5' / 'result.json').write_text(json.dumps(stored))
    assert run_downstream(task, 'AverageFuser', [5], tmp_path / 'run')[0]['metrics'] == {'seg/mIoU': 12.0}
    task.train_cfg.max_epochs = 2
    with pytest.raises(UserError, match=r'task\.json belongs to another run'):
        run_downstream(task, 'AverageFuser', [5], tmp_path / 'run')


def test_command_with_a_detector_on_demo_pairs(tmp_path, repo_dir, capsys):
    """Arrays instead of files, a trained checkpoint of a whole coupling, and the table."""
    config = write_tiny_config(tmp_path, 'train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1)\n')
    downstream = runpy.run_path(str(repo_dir / 'tools' / 'downstream.py'))['main']
    weights = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=MODELS.build(Config.fromfile(config).model).state_dict()), weights)
    argv = [
        '--fusion',
        str(config),
        '--weights',
        str(weights),
        '--work-dir',
        str(tmp_path / 'run'),
        '--name',
        'joint',
        '--device',
        'cpu',
    ]
    capsys.readouterr()
    downstream([str(config), *argv])
    assert '| joint | 1 |' in capsys.readouterr().out and '| joint | 1 |' in (tmp_path / 'run' / 'table.md').read_text()
    assert len(list((tmp_path / 'run' / 'fused' / 'train').glob('train_*.png'))) == 4
    assert len(json.loads((tmp_path / 'run' / 'seed0' / 'result.json').read_text())['weights_sha256']) == 64
    weights.unlink()
    with pytest.raises(SystemExit):
        downstream([str(config), *argv])
    assert 'checkpoint not found' in capsys.readouterr().err


def test_configs_that_cannot_be_used(task, tmp_path):
    without = Config(dict(task.to_dict()))
    without.model = dict(type='FusionOnly', fuser=dict(type='AverageFuser'))
    with pytest.raises(UserError, match='no task networks'):
        run_downstream(without, 'AverageFuser', [0], tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
    task.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[task.train_dataloader.dataset] * 2)
    with pytest.raises(UserError, match='one data set per part'):
        fuse_sets(task, 'AverageFuser', tmp_path / 'run')
