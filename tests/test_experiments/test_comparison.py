"""Comparing fusers with one task network: what each row changes, and that pieces add up to the whole."""

import json

import pytest
import tiny_models
import torch
from mmengine.config import Config
from tiny_config import write_tiny_config

from mmfusion.experiments.comparison import RULES, VARIANTS, compare, run_variant, tabulate, variant_config
from mmfusion.registry import MODELS
from mmfusion.utils import safe_load


@pytest.fixture
def base(tmp_path):
    return Config.fromfile(write_tiny_config(tmp_path))


def test_variants_change_the_fuser_and_nothing_else(base, tmp_path):
    joint = variant_config(base, 'joint', 3, tmp_path)
    assert joint.model == base.model and joint.randomness.seed == 3
    detached = variant_config(base, 'detached', 3, tmp_path)
    assert detached.model == dict(base.model, detach=True)
    visible = variant_config(base, 'visible', 3, tmp_path)
    assert visible.model.fuser == dict(type='SourceFuser', source='first')
    assert visible.model.guide is None and visible.model.fusion_loss is None and visible.model.tasks == base.model.tasks
    assert visible.optim_wrapper == base.optim_wrapper and visible.train_dataloader == base.train_dataloader
    assert 'detach' not in base.model
    with pytest.raises(ValueError, match='unknown variant'):
        variant_config(base, 'both', 0, tmp_path)
    assert {'visible', 'infrared', 'average', 'maximum', 'detached', 'joint'} <= set(VARIANTS)


def test_runs_are_kept_and_tabulated(base, tmp_path):
    base.train_cfg.max_epochs = 1
    results = compare(base, ['average', 'joint'], [0], tmp_path / 'runs')
    assert [result['variant'] for result in results] == ['average', 'joint']
    assert all('pascal_voc/mAP' in result['metrics'] and result['epochs'] == 1 for result in results)
    kept = tmp_path / 'runs' / 'joint_seed0' / 'result.json'
    content = dict(json.loads(kept.read_text()), metrics={'pascal_voc/mAP': 0.25})
    kept.write_text(json.dumps(content))
    again = compare(base, ['joint'], [0], tmp_path / 'runs')
    assert '| joint | 1 | 0.250 |' in tabulate(again, dict(mAP='pascal_voc/mAP'))


def test_pieces_add_up_to_one_run(base, tmp_path):
    """A run cut after every epoch ends with the weights of one that was not."""
    whole = run_variant(base, 'joint', 0, tmp_path / 'whole')
    assert run_variant(base, 'joint', 0, tmp_path / 'pieces', minutes=1e-6) is None
    pieces = run_variant(base, 'joint', 0, tmp_path / 'pieces', minutes=1e-6)
    assert whole['metrics'].keys() == pieces['metrics'].keys()
    first, second = (
        safe_load(tmp_path / name / 'joint_seed0' / 'epoch_2.pth')['state_dict'] for name in ('whole', 'pieces')
    )
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_variants_of_a_meta_coupling(tmp_path):
    """Only ``meta`` learns its loss; the others train the same parts by one optimizer."""
    from mmfusion.utils import load_config

    base = load_config('configs/tdfusion_msrs_light.py', None)
    meta, joint, average, detached = (
        variant_config(base, name, 0, tmp_path) for name in ('meta', 'joint', 'average', 'detached')
    )
    assert meta.model == base.model and meta.train_cfg == base.train_cfg and meta.optim_wrapper == base.optim_wrapper
    assert (
        joint.model.type == 'JointCoupling'
        and joint.model.fuser == base.model.fuser
        and joint.model.tasks == base.model.tasks
    )
    assert joint.model.fusion_loss == base.model.fusion_loss and 'loss_generator' not in joint.model
    assert joint.train_cfg == dict(
        type='EpochBasedTrainLoop', max_epochs=base.train_cfg.max_epochs, val_interval=base.train_cfg.val_interval
    )
    assert (
        joint.optim_wrapper.optimizer == base.optim_wrapper.tasks.optimizer
        and joint.train_dataloader == base.train_dataloader
    )
    assert 'LossWeightVisualizationHook' not in str(joint.custom_hooks) and 'LossWeightVisualizationHook' in str(
        base.custom_hooks
    )
    assert detached.model == dict(joint.model, detach=True)
    assert average.model.fuser == dict(type='AverageFuser') and average.model.fusion_loss is None
    for cfg in (joint, average, detached):
        model = MODELS.build(cfg.model)
        losses, _ = model.parse_losses(model(*tiny_models.make_batch(2), mode='loss'))
        assert torch.isfinite(losses)
    with pytest.raises(ValueError, match='needs the config of a MetaCoupling'):
        variant_config(joint, 'meta', 0, tmp_path)


@pytest.mark.slow
def test_comparison_on_real_pairs(shared_dir, tmp_path):
    """The table of the docs, shortened to one epoch: every variant trains and is tested on the real MSRS pairs."""
    from mmfusion.utils import load_config

    cfg = load_config('configs/moe_fusion_msrs_light_from_scratch.py', None)
    root = str(shared_dir / 'data' / 'MSRS') + '/'
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = root
    cfg.train_cfg.max_epochs = 1
    variants = [name for name in VARIANTS if name not in RULES]
    results = compare(cfg, variants, [0], tmp_path)
    assert len(results) == len(variants) and all(0 <= result['metrics']['pascal_voc/mAP'] <= 1 for result in results)


@pytest.mark.slow
def test_fusing_helps_on_the_demo_pairs(tmp_path):
    """The built-in data set is worth fusing: the same detector does clearly better on a plain average than on either
    source.
    """
    from mmfusion.utils import load_config

    cfg = load_config('configs/moe_fusion_demo.py', None)
    cfg.train_cfg.max_epochs = 8
    results = compare(cfg, ['visible', 'infrared', 'average'], [0], tmp_path)
    visible, infrared, average = (result['metrics']['coco/bbox_mAP_50'] for result in results)
    assert average > max(visible, infrared) + 0.05
