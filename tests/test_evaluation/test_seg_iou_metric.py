"""SegIoUMetric against a confusion matrix counted pixel by pixel, against mmseg's own metric, and beside mAP in one
evaluator.
"""

import cv2
import numpy as np
import pytest
import tiny_models
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData
from mmseg.evaluation import IoUMetric

from mmfusion.models.couplings import JointCoupling
from mmfusion.registry import METRICS, TRANSFORMS
from mmfusion.running.checks import check_testing
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError

META = dict(classes=('person', 'car'), seg_classes=('road', 'sky', 'tree', 'pole', 'sign'))
CLASSES = len(META['seg_classes'])


def known_samples(count=3, seed=0):
    """Labels and predictions that agree in half of the pixels; class 4 never occurs; some pixels are ignored."""
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        label = rng.integers(0, CLASSES - 1, (30 + index, 40))
        predicted = np.where(rng.random(label.shape) < 0.5, label, rng.integers(0, CLASSES - 1, label.shape))
        label[rng.random(label.shape) < 0.1] = 255
        sample = FusionDataSample(
            metainfo=dict(sample_id=str(index), img_id=index, ori_shape=label.shape, instances=[])
        )
        sample.gt_sem_seg, sample.pred_sem_seg = (
            PixelData(data=torch.from_numpy(data)[None]) for data in (label, predicted)
        )
        samples.append(sample)
    return samples


def confusion(samples):
    """Counted in plain Python."""
    matrix = [[0] * CLASSES for _ in range(CLASSES)]
    for sample in samples:
        for label, predicted in zip(
            sample.gt_sem_seg.data.flatten().tolist(), sample.pred_sem_seg.data.flatten().tolist()
        ):
            if label != 255:
                matrix[label][predicted] += 1
    return matrix


def ratios(matrix):
    """IoU of the classes that occur or are predicted, and accuracy of all pixels."""
    found = {}
    for index in range(CLASSES):
        union = sum(matrix[index]) + sum(row[index] for row in matrix) - matrix[index][index]
        if union:
            found[index] = matrix[index][index] / union
    return found, sum(matrix[index][index] for index in range(CLASSES)) / sum(map(sum, matrix))


def evaluate(samples, metric=None, **kwargs):
    evaluator = Evaluator(metric or METRICS.build(dict(type='SegIoUMetric', **kwargs)))
    evaluator.dataset_meta = META
    for sample in samples:
        evaluator.process(data_samples=[sample], data_batch={})
    return evaluator.evaluate(len(samples))


def test_against_a_confusion_matrix():
    samples = known_samples()
    found, accuracy = ratios(confusion(samples))
    assert sorted(found) == [0, 1, 2, 3]  # class 4 neither occurs nor is predicted
    result = evaluate(samples, per_class=True)
    assert result['seg/mIoU'] == pytest.approx(100 * np.mean(list(found.values())), abs=0.0051)  # two decimals are kept
    assert result['seg/aAcc'] == pytest.approx(100 * accuracy, abs=0.0051)
    for index, value in found.items():
        assert result[f'seg/IoU_{META["seg_classes"][index]}'] == pytest.approx(100 * value, abs=0.0051)
    assert np.isnan(result['seg/IoU_sign'])
    without = evaluate(samples, ignore_background=True)
    assert without['seg/mIoU'] == pytest.approx(
        100 * np.mean([value for index, value in found.items() if index]), abs=0.0051
    )
    assert without['seg/aAcc'] == result['seg/aAcc'] and without['seg/mIoU'] != result['seg/mIoU']


def test_against_mmseg():
    samples = known_samples(seed=1)
    metric = IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'], prefix='seg')
    metric.dataset_meta = dict(classes=META['seg_classes'])
    metric.process({}, [sample.to_dict() for sample in samples])
    wanted = metric.evaluate(len(samples))
    found = evaluate(samples, iou_metrics=['mIoU', 'mDice', 'mFscore'])
    assert set(found) == set(wanted) and len(wanted) > 5
    for key, value in wanted.items():
        assert found[key] == pytest.approx(float(value), abs=0.011), key


def test_counts_beyond_the_range_of_float32_are_exact():
    """Sixteen million pixels and a few more: single precision would stop counting."""
    count = 2**24
    metric = METRICS.build(dict(type='SegIoUMetric'))
    areas = [
        metric.intersect_and_union(torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long), 2, 255)
        for n in (count, 1, 1)
    ]
    assert sum(area[0] for area in areas)[0].item() == count + 2


def test_bad_samples_are_named():
    sample = known_samples(1)[0]
    broken = sample.clone()
    del broken.pred_sem_seg
    with pytest.raises(ValueError, match='sample 0 has no predicted class map'):
        evaluate([broken])
    broken = sample.clone()
    del broken.gt_sem_seg
    with pytest.raises(ValueError, match='sample 0 has no class map.*LoadClassMap'):
        evaluate([broken])
    broken = sample.clone()
    del broken.gt_sem_seg
    broken.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[:, ::2])
    with pytest.raises(ValueError, match=r'sample 0 is \(15, 40\), the prediction \(30, 40\)'):
        evaluate([broken])
    broken.gt_sem_seg, broken.pred_sem_seg = (PixelData(data=torch.full((1, 4, 4), value)) for value in (7, 0))
    with pytest.raises(ValueError, match='label 7 where the data set has 5 classes'):
        evaluate([broken])


def test_map_and_miou_in_one_run(tmp_path):
    """A coupling with a detector and a segmentor, on images that the pipeline halves: predictions have the size of the
    original labels.
    """
    height, width = 96, 128
    rng = np.random.default_rng(0)
    assert cv2.imwrite(str(tmp_path / 'a.png'), rng.integers(0, 3, (height, width)).astype(np.uint8))
    results = dict(
        first=rng.integers(0, 256, (height, width, 3), np.uint8),
        second=rng.integers(0, 256, (height, width, 1), np.uint8),
        img_id=0,
        sample_id='a',
        seg_map_path=str(tmp_path / 'a.png'),
        instances=[dict(bbox=[10.0, 10.0, 60.0, 60.0], bbox_label=0, ignore_flag=0)],
    )
    for cfg in (
        dict(type='LoadPair'),
        dict(type='Paired', transform=dict(type='mmdet.Resize', scale=(64, 48), keep_ratio=False)),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='LoadClassMap'),
        dict(type='PackFusionInputs'),
    ):
        results = TRANSFORMS.build(cfg)(results)
    model = JointCoupling(
        dict(type='AverageFuser'), tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor())
    ).eval()
    data = dict(
        inputs={key: [value] for key, value in results['inputs'].items()}, data_samples=[results['data_samples']]
    )
    with torch.no_grad():
        samples = model.test_step(data)
    assert samples[0].fused.data.shape[-2:] == (48, 64)
    assert samples[0].pred_sem_seg.data.shape == samples[0].gt_sem_seg.data.shape == (1, height, width)
    box = dict(
        bboxes=torch.tensor([[10.0, 10.0, 60.0, 60.0]]), scores=torch.ones(1), labels=torch.zeros(1, dtype=torch.long)
    )
    samples[0].pred_instances = InstanceData(**box)
    evaluator = Evaluator(
        [
            METRICS.build(cfg)
            for cfg in (
                dict(type='mmdet.VOCMetric', metric='mAP'),
                dict(type='SegIoUMetric'),
                dict(type='FusionMetric', metrics=['EN']),
            )
        ]
    )
    evaluator.dataset_meta = dict(classes=('person',), seg_classes=('a', 'b', 'c'))
    evaluator.process(data_samples=samples, data_batch=data)
    values = evaluator.evaluate(1)
    assert values['pascal_voc/mAP'] == pytest.approx(1) and 0 < values['seg/mIoU'] < 100 and values['fusion/EN'] > 0
    matrix = torch.zeros(3, 3)
    for label, predicted in zip(samples[0].gt_sem_seg.data.flatten(), samples[0].pred_sem_seg.data.flatten()):
        matrix[label, predicted] += 1
    union = matrix.sum(0) + matrix.sum(1) - matrix.diag()
    assert values['seg/mIoU'] == pytest.approx(100 * (matrix.diag() / union)[union > 0].mean().item(), abs=0.0051)


class _Loop:
    """What ``check_testing`` looks at."""

    def __init__(self, metric, **meta):
        self.dataloader = type('Loader', (), dict(dataset=type('Pairs', (), dict(metainfo=meta))()))()
        self.evaluator = type('Evaluators', (), dict(metrics=[metric]))()


def test_metrics_that_would_count_the_wrong_classes_are_refused():
    runner = type('Runner', (), dict(model=torch.nn.Module()))()
    ours = METRICS.build(dict(type='SegIoUMetric'))
    check_testing(runner, _Loop(ours, **META))
    with pytest.raises(UserError, match="mmseg.IoUMetric would take the classes of the boxes.*type='SegIoUMetric'"):
        check_testing(runner, _Loop(IoUMetric(), **META))
    with pytest.raises(UserError, match='Pairs has no segmentation classes'):
        check_testing(runner, _Loop(ours, classes=('person',), seg_classes=()))
