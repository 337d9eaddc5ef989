"""Where --per-image writes when there are several fusion metrics."""

import pytest
from mmengine.config import Config

from mmfusion.running.testing import set_per_image
from mmfusion.utils import UserError


def files(*metrics):
    cfg = Config(dict(test_evaluator=[dict(metric) for metric in metrics]))
    listed = set_per_image(cfg, 'values.csv')
    found = [metric.get('out_csv', '') for metric in cfg.test_evaluator]
    assert sorted(listed) == sorted(filter(None, found))
    return [file.rsplit('/', 1)[-1] for file in found]


def test_each_task_has_a_file_and_others_share_none():
    plain, box = dict(type='FusionMetric'), dict(type='mmdet.CocoMetric')
    focus, exposure = (dict(type='mmfusion.FusionMetric', fusion_task=task) for task in ('focus', 'exposure'))
    assert files(box, plain, plain) == ['', 'values.csv', '']
    assert files(focus, exposure) == ['values_focus.csv', 'values_exposure.csv']
    assert files(plain, focus) == ['values.csv', 'values_focus.csv']
    with pytest.raises(UserError, match='no FusionMetric'):
        files(box)
