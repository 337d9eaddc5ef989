"""Boxes that are to be ignored count in neither detection metric, whether or not something was detected there."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmfusion.registry import METRICS, TRANSFORMS

OBJECT, IGNORED, ELSEWHERE = [10.0, 10.0, 50.0, 60.0], [60.0, 20.0, 90.0, 70.0], [2.0, 70.0, 20.0, 78.0]


def evaluate(metric, predictions, ignore_flag):
    """mAP of a detector that gives ``predictions`` at the scale of the original image, after a pipeline that halves the
    image.
    """
    instances = [
        dict(bbox=OBJECT, bbox_label=0, ignore_flag=0),
        dict(bbox=IGNORED, bbox_label=0, ignore_flag=ignore_flag),
    ]
    results = dict(
        first=np.zeros((80, 100, 3), np.uint8),
        second=np.zeros((80, 100, 1), np.uint8),
        img_id=0,
        sample_id='a',
        instances=instances,
    )
    for cfg in (
        dict(type='LoadPair'),
        dict(type='Paired', transform=dict(type='mmdet.Resize', scale=(50, 40), keep_ratio=False)),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='PackFusionInputs'),
    ):
        results = TRANSFORMS.build(cfg)(results)
    sample = results['data_samples']
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor(predictions),
        labels=torch.zeros(len(predictions), dtype=torch.long),
        scores=torch.linspace(0.9, 0.5, len(predictions)),
    )
    metric = METRICS.build(metric)
    metric.dataset_meta = dict(classes=('person',))
    metric.process({}, [sample.to_dict()])
    values = metric.evaluate(1)
    return next(value for key, value in values.items() if key.endswith(('AP50', 'mAP_50')))


@pytest.mark.parametrize(
    'metric',
    [
        dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area'),
        dict(type='mmdet.CocoMetric', metric='bbox'),
    ],
)
def test_ignored_boxes(metric):
    assert evaluate(metric, [OBJECT], 1) == pytest.approx(1, abs=1e-3)  # not missed
    assert evaluate(metric, [IGNORED, OBJECT], 1) == pytest.approx(1, abs=1e-3)  # not a false alarm
    assert evaluate(metric, [ELSEWHERE, OBJECT], 1) == pytest.approx(0.5, abs=0.01)  # but this is one
    assert evaluate(metric, [OBJECT], 0) == pytest.approx(0.5, abs=0.01)  # and this one is missed
