"""Inference with the config of a segmentor: labels are not asked for, the class map comes back at the size of the
sources.
"""

import warnings

import numpy as np

from mmfusion.apis import FusionInferencer
from mmfusion.utils import load_config


def test_class_map_at_the_size_of_the_sources(repo_dir):
    cfg = load_config(repo_dir / 'configs' / 'moe_fusion_msrs_det_seg_light.py')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the weights are random
        fuse = FusionInferencer(cfg)
    rng = np.random.default_rng(0)
    result = fuse(rng.integers(0, 256, (60, 84, 3), np.uint8), rng.integers(0, 256, (60, 84), np.uint8), predict=True)[
        0
    ]
    assert result.fused.shape == (60, 84, 3)
    assert result.data_sample.pred_sem_seg.data.shape == (1, 60, 84) and result.data_sample.ori_shape == (60, 84)
    assert result.data_sample.pred_sem_seg.data.max() < 9 and result.instances is not None
