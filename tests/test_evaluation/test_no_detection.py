"""A detector that finds nothing has mAP 0, in every metric that the configs use, and a best checkpoint."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mmfusion.evaluation.metrics.coco_metric import CocoMetric
from mmfusion.experiments.comparison import COLUMNS, tabulate
from mmfusion.registry import METRICS

META = dict(classes=('person', 'car'))


def sample(number, boxes=0, masks=False, objects=2):
    """An image of 64x64 with objects of 20x20, and predictions on the first of them."""
    corners = torch.tensor([[4.0 + 30 * index, 4.0, 24.0 + 30 * index, 24.0] for index in range(2)])
    instances = [dict(bbox=corners[index].tolist(), bbox_label=index, ignore_flag=0) for index in range(objects)]
    if masks:
        for item, box in zip(instances, corners.int().tolist()):
            grid = np.zeros((64, 64), dtype=np.uint8, order='F')
            grid[box[1] : box[3], box[0] : box[2]] = 1
            item['mask'] = coco_mask.encode(grid)
    pred = dict(bboxes=corners[:boxes], scores=torch.ones(boxes), labels=torch.arange(boxes))
    if masks:
        pred['masks'] = torch.zeros(boxes, 64, 64, dtype=torch.bool)
    truth = dict(bboxes=corners[:objects], labels=torch.arange(objects))
    return dict(
        img_id=number,
        ori_shape=(64, 64),
        instances=instances,
        pred_instances=pred,
        gt_instances=truth,
        ignored_instances=dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)),
    )


def evaluate(config, boxes, **options):
    metric = METRICS.build(config)
    metric.dataset_meta = META
    metric.process({}, [sample(number, boxes if number == 1 else 0, **options) for number in range(3)])
    return metric.evaluate(3), metric


@pytest.mark.parametrize('name', ['mmdet.CocoMetric', 'mmfusion.CocoMetric', 'CocoMetric'])
def test_coco(name):
    found, metric = evaluate(dict(type=name, metric='bbox', classwise=True), 2)
    nothing, _ = evaluate(dict(type=name, metric='bbox', classwise=True), 0)
    assert type(metric) is CocoMetric
    assert nothing.keys() == found.keys() and found['coco/bbox_mAP'] > 0.3
    assert (
        nothing['coco/bbox_mAP']
        == nothing['coco/bbox_mAP_50']
        == nothing['coco/person_precision']
        == nothing['coco/car_precision']
        == 0
    )
    assert (
        nothing['coco/bbox_mAP_s'] == 0 and nothing['coco/bbox_mAP_l'] == found['coco/bbox_mAP_l'] == -1
    )  # no large object


def test_coco_with_masks_proposals_and_files(tmp_path):
    config = dict(
        type='mmdet.CocoMetric',
        metric=['bbox', 'segm', 'proposal', 'proposal_fast'],
        outfile_prefix=str(tmp_path / 'out'),
    )
    nothing, _ = evaluate(config, 0, masks=True)
    assert nothing['coco/segm_mAP'] == nothing['coco/bbox_mAP'] == nothing['coco/AR@100'] == 0
    assert (
        json.loads((tmp_path / 'out.bbox.json').read_text())
        == json.loads((tmp_path / 'out.segm.json').read_text())
        == []
    )


def test_voc():
    nothing, _ = evaluate(dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5), 0)
    found, _ = evaluate(dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5), 2)
    assert nothing == {'pascal_voc/mAP': 0, 'pascal_voc/AP50': 0} and found['pascal_voc/mAP'] > 0.3


def runs(*values, key='coco/bbox_mAP', variant='joint'):
    return [
        dict(variant=variant, seed=seed, metrics={} if value is None else {key: value})
        for seed, value in enumerate(values)
    ]


def test_tables_survive_what_is_not_there():
    keys = {'mAP': COLUMNS['mAP']}
    assert '| joint | 2 | 0.100 ± 0.141 |' in tabulate(runs(0.0, 0.2), keys)
    assert '| joint | 3 | 0.150 ± 0.071 (2 of 3) |' in tabulate(runs(0.1, None, 0.2), keys)
    assert '| joint | 2 | 0.200 (1 of 2) |' in tabulate(runs(float('nan'), 0.2), keys)
    assert '| joint | 2 | - |' in tabulate(runs(None, float('nan')), keys)
    assert '| joint | 1 | - |' in tabulate(runs(None), keys)
