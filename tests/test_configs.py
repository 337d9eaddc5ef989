"""Every shipped config can be read, builds its model, and says where its data should lie when they are missing."""

from pathlib import Path

import pytest
import tiny_models
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmfusion.registry import DATASETS, MODELS
from mmfusion.utils import UserError, load_config

# a league has methods in the place of a model, see tests/test_experiments/test_league.py
CONFIGS = sorted(
    path for path in (Path(__file__).parents[1] / 'configs').glob('*.py') if not path.stem.startswith('league_')
)
NEEDED = (
    'model',
    'train_dataloader',
    'test_dataloader',
    'test_evaluator',
    'train_cfg',
    'optim_wrapper',
    'default_scope',
)


def ids(path):
    return path.stem


@pytest.mark.parametrize('path', CONFIGS, ids=ids)
def test_config_is_complete_and_short(path):
    cfg = load_config(str(path))
    missing = [key for key in NEEDED if key not in cfg]
    assert not missing
    assert cfg.default_scope == 'mmfusion'
    assert 'runtime_info' not in cfg.default_hooks  # exact resuming, several processes: see RuntimeInfoHook
    assert len(path.read_text().splitlines()) <= 60
    assert path.read_text().startswith('"""'), 'a config begins with what it is for'


# These are a config whose networks start otherwise, and nothing else: see test_from_scratch_changes_the_start_alone.
INHERITING = [path for path in CONFIGS if path.stem.endswith('_from_scratch') and "_base_ = './" in path.read_text()]


@pytest.mark.parametrize('path', [path for path in CONFIGS if path not in INHERITING], ids=ids)
def test_model_builds_and_takes_a_training_step(path):
    """Losses are finite, the optimizer holds what learns, and the class counts of data set, guide and task network
    agree.
    """
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model).train()
    build_optim_wrapper(model, cfg.optim_wrapper)
    meta = getattr(DATASETS.get(_innermost(cfg.train_dataloader.dataset).type), 'METAINFO', {})
    heads = [(name, module.num_classes) for name, module in model.named_modules() if hasattr(module, 'num_classes')]
    boxes = {number for name, number in heads if name.endswith('bbox_head')}
    maps = {number for name, number in heads if 'decode_head' in name.split('.') or 'auxiliary_head' in name}
    assert boxes | maps or not len(model.tasks), 'no head to compare'
    assert boxes <= {len(meta.get('classes', ()))} and maps <= {len(meta.get('seg_classes', ()))}, heads
    inputs, samples = tiny_models.make_batch(2, 64, 96)
    tasks = list(cfg.train_dataloader.dataset.get('fusion_tasks', ()))
    for sample in samples:
        if tasks:
            sample.set_metainfo(dict(fusion_task=tasks[-1]))
        if boxes:
            sample.gt_instances.labels = sample.gt_instances.labels.clamp(max=len(meta['classes']) - 1)
        else:
            del sample.gt_instances, sample.ignored_instances
    losses, _ = model.parse_losses(model(inputs, samples, mode='loss'))
    assert torch.isfinite(losses)


REAL = ('llvip', 'm3fd', 'msrs', 'fmb', 'mfnet')
ORIGINS = {'coco': 'COCO', 'cityscapes': 'Cityscapes', 'mobilenet_v2': 'ImageNet'}


@pytest.mark.parametrize('path', [path for path in CONFIGS if set(REAL) & set(path.stem.split('_'))], ids=ids)
def test_task_networks_of_real_data_are_pretrained(path):
    """They start from the weights that the docstring names, if these are there; ``_from_scratch`` ones do not."""
    cfg = Config.fromfile(path)
    starts = {}
    for name, network in (cfg.model.get('tasks') or {}).items():
        whole = network.get('init_cfg') or {}
        starts[name] = whole or network.backbone.get('init_cfg') or {}
    detector = (cfg.model.get('guide') or {}).get('detector') or {}
    if path.stem.endswith('_from_scratch'):
        kinds = [start.get('type') for start in (*starts.values(), detector.get('init_cfg') or {})]
        assert 'mmfusion.PretrainedTask' not in kinds
        assert (path.parent / f'{path.stem[: -len("_from_scratch")]}.py').exists()
        return
    for name, start in starts.items():
        assert start, f'{name} starts from random weights'
        kind = start.type.split('.')[-1]
        assert kind == 'PretrainedIfReachable' or (kind == 'PretrainedTask' and start.if_absent in ('random', 'error'))
        origin = next(text for part, text in ORIGINS.items() if part in start.checkpoint)
        if "_base_ = './" not in path.read_text():
            assert origin in path.read_text().split('"""')[1], f'the docstring does not say where {name} starts from'
    if starts and detector.get('type') == 'mmdet.FasterRCNN':
        assert 'coco' in detector.init_cfg.checkpoint


@pytest.mark.parametrize('path', INHERITING, ids=ids)
def test_from_scratch_changes_the_start_alone(path):

    def without_starts(cfg):
        if isinstance(cfg, dict):
            return {key: without_starts(value) for key, value in cfg.items() if key != 'init_cfg'}
        return [without_starts(value) for value in cfg] if isinstance(cfg, (list, tuple)) else cfg

    cfg, other = Config.fromfile(path), Config.fromfile(path.parent / f'{path.stem[: -len("_from_scratch")]}.py')
    assert cfg.model != other.model and without_starts(cfg.model) == without_starts(other.model)
    assert cfg.train_dataloader == other.train_dataloader and cfg.train_cfg == other.train_cfg


def _innermost(dataset):
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


@pytest.mark.parametrize('path', [path for path in CONFIGS if 'demo' not in path.stem], ids=ids)
def test_missing_data_is_one_clear_message(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = _innermost(Config.fromfile(path).test_dataloader.dataset)
    with pytest.raises((UserError, FileNotFoundError), match='data/'):
        DATASETS.build(cfg)
