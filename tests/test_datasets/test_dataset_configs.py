"""Base configs build, run on pairs in the official layouts, rendered ones and real ones, and their evaluators read our
samples.
"""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmfusion.registry import DATASETS, MODELS

NAMES = ['demo_pairs', 'llvip_det', 'm3fd_det', 'msrs_det', 'msrs_det_seg', 'msrs_seg', 'pair_folder']
WITHOUT_REAL_LABELS = ['fmb_seg', 'mfnet_seg']


def load(repo_dir, name):
    return Config.fromfile(str(repo_dir / 'configs' / '_base_' / 'datasets' / f'{name}.py'))


def use_sets(config, sets_dir):
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = config[key].dataset
        if 'data_root' not in dataset:
            continue
        root = sets_dir / dataset.data_root
        dataset.data_root = str(root)
        if (
            'ann_file' in dataset and not (root / dataset.ann_file).is_file()
        ):  # of M3FD a few pairs are there, and no split
            dataset.ann_file = ''
        if (root / 'train' / 'Segmentation_labels_pseudo').is_dir() and any(
            step['type'] == 'LoadClassMap' for step in dataset.pipeline
        ):
            dataset.seg_dir = 'Segmentation_labels_pseudo'
    return config


@pytest.mark.parametrize('name', NAMES)
def test_loaders(name, repo_dir, sets_dir):
    check_loaders(name, use_sets(load(repo_dir, name), sets_dir))


@pytest.mark.parametrize('name', WITHOUT_REAL_LABELS)
def test_loaders_on_rendered_labels(name, repo_dir, rendered_dir):
    check_loaders(name, use_sets(load(repo_dir, name), rendered_dir))


def check_loaders(name, config):
    """The first batch of each loader, through the preprocessor."""
    preprocessor = MODELS.build(dict(type='FusionDataPreprocessor', pad_size_divisor=32))
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = Runner.build_dataloader(copy.deepcopy(dict(config[key], num_workers=0)), seed=0)
        data = next(iter(loader))
        batch = preprocessor(data, key == 'train_dataloader')
        size = batch['inputs']['first'].shape[-2:]
        assert batch['inputs']['second'].shape[-2:] == size and size[0] % 32 == size[1] % 32 == 0
        if key == 'train_dataloader' and name != 'demo_pairs':
            assert tuple(batch['data_samples'][0].img_shape) == ((600, 800) if name == 'fmb_seg' else (480, 640))
        if 'seg' in name:
            sample = batch['data_samples'][0]
            wanted = (
                size if key == 'train_dataloader' else sample.ori_shape
            )  # labels of a test stay as large as the original
            assert sample.gt_sem_seg.data.shape[-2:] == tuple(wanted) and sample.gt_sem_seg.data.unique().numel() > 1
        if name not in ('pair_folder', 'msrs_seg', *WITHOUT_REAL_LABELS):
            assert len(batch['data_samples'][0].gt_instances) > 0
        if key == 'test_dataloader' and name == 'llvip_det':  # ground truth stays in pixels of the original
            sample = batch['data_samples'][0]
            assert sample.ori_shape == (1024, 1280)
            np.testing.assert_allclose(
                sample.gt_instances.bboxes.numpy(), [instance['bbox'] for instance in sample.instances]
            )


@pytest.mark.parametrize('name', NAMES[1:] + WITHOUT_REAL_LABELS)
def test_missing_data_is_one_clear_error(name, repo_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='data_preparation.md'):
        DATASETS.build(load(repo_dir, name).test_dataloader.dataset)


def detection_evaluator(config, dataset):
    """The detection metrics of a config; those of the fused image need a fused image."""
    evaluator = Evaluator([metric for metric in config.test_evaluator if metric['type'].startswith('mmdet.')])
    assert len(evaluator.metrics) == 2
    evaluator.dataset_meta = dataset.metainfo
    return evaluator


def evaluate(config, predict):
    """Run the evaluators of a config over its test set with made-up predictions."""
    dataset = DATASETS.build(config.test_dataloader.dataset)
    evaluator = detection_evaluator(config, dataset)
    for index in range(len(dataset)):
        data = pseudo_collate([dataset[index]])
        sample = data['data_samples'][0]
        sample.pred_instances = predict(index, sample)
        evaluator.process(data_samples=[sample], data_batch=data)
    return evaluator.evaluate(len(dataset))


def ground_truth(sample):
    """Perfect predictions, in pixels of the original image."""
    instances = [instance for instance in sample.instances if not instance['ignore_flag']]
    boxes = torch.tensor([instance['bbox'] for instance in instances], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([instance['bbox_label'] for instance in instances], dtype=torch.long)
    return InstanceData(bboxes=boxes, labels=labels, scores=torch.ones(len(labels)))


def nothing():
    return InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long), scores=torch.zeros(0))


@pytest.fixture
def demo(repo_dir):
    config = load(repo_dir, 'demo_pairs')
    # From no object up: with this seed some images have none.
    config.test_dataloader.dataset.update(length=24, num_objects=(0, 3))
    return config


def test_metrics_on_demo_pairs(demo):
    dataset = DATASETS.build(demo.test_dataloader.dataset)
    assert 0 in [len(dataset.get_data_info(index)['instances']) for index in range(24)]
    perfect = evaluate(demo, lambda index, sample: ground_truth(sample))
    assert perfect['coco/bbox_mAP'] == pytest.approx(1) and perfect['pascal_voc/mAP'] == pytest.approx(1)
    half = evaluate(demo, lambda index, sample: ground_truth(sample) if index % 2 else nothing())
    assert 0.2 < half['coco/bbox_mAP_50'] < 0.9 and 0.2 < half['pascal_voc/mAP'] < 0.9

    def false_alarms(index, sample):
        right = ground_truth(sample)
        wrong = InstanceData(
            bboxes=torch.tensor([[1.0, 1.0, 20.0, 20.0]] * 3), labels=torch.arange(3), scores=torch.full((3,), 2.0)
        )
        return InstanceData.cat([right, wrong])

    alarmed = evaluate(demo, false_alarms)
    assert alarmed['coco/bbox_mAP_50'] < 0.9 and alarmed['pascal_voc/mAP'] < 0.9


def test_metrics_when_nothing_is_predicted_at_all(demo):
    results = evaluate(demo, lambda index, sample: nothing())
    assert results['pascal_voc/mAP'] == 0 and results.get('coco/bbox_mAP', 0) <= 0


@pytest.mark.parametrize('name', ['llvip_det', 'm3fd_det', 'msrs_det', 'msrs_det_seg'])
def test_metrics_of_perfect_predictions(name, repo_dir, sets_dir):
    config = use_sets(load(repo_dir, name), sets_dir)
    config.test_dataloader.dataset.indices = 5
    results = evaluate(config, lambda index, sample: ground_truth(sample))
    assert results['coco/bbox_mAP'] == pytest.approx(1) and results['pascal_voc/AP50'] == pytest.approx(1)


def test_ignored_objects_count_for_neither_side(demo):
    """A prediction on an ignored object is no false alarm, and leaving it out is no miss."""
    dataset = DATASETS.build(demo.test_dataloader.dataset)
    data = [pseudo_collate([dataset[index]]) for index in range(6)]
    for answer in (True, False):
        evaluator = detection_evaluator(demo, dataset)
        for batch in data:
            sample = batch['data_samples'][0].clone()
            kept = ground_truth(sample)
            if len(kept):
                ignored = dict(sample.instances[0], ignore_flag=1)
                sample.set_metainfo(dict(instances=[ignored, *sample.instances[1:]]))
                sample.ignored_instances, sample.gt_instances = sample.gt_instances[:1], sample.gt_instances[1:]
            sample.pred_instances = kept if answer else kept[1:]
            evaluator.process(data_samples=[sample], data_batch=batch)
        results = evaluator.evaluate(len(data))
        assert results['coco/bbox_mAP'] == pytest.approx(1) and results['pascal_voc/mAP'] == pytest.approx(1)
