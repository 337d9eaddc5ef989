"""PackFusionInputs: tensors, labels, meta information."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmfusion.datasets.transforms import PackFusionInputs


def results(**extra):
    rng = np.random.default_rng(0)
    return dict(
        first=rng.integers(0, 256, (20, 30, 3), dtype=np.uint8),
        second=rng.random((20, 30, 1), dtype=np.float32),
        img_id=4,
        sample_id='a',
        img_shape=(20, 30),
        ori_shape=(40, 60),
        scale_factor=(0.5, 0.5),
        flip=False,
        instances=[],
        unknown=1,
        **extra,
    )


@pytest.mark.parametrize('structure', [HorizontalBoxes, np.asarray, torch.as_tensor], ids=['mmdet', 'numpy', 'torch'])
def test_labels(structure):
    boxes = np.array([[1, 2, 3, 4], [5, 6, 9, 9], [0, 0, 7, 7]], np.float32)
    sample = PackFusionInputs()(
        results(
            gt_bboxes=structure(boxes),
            gt_bboxes_labels=np.array([2, 0, 1]),
            gt_ignore_flags=np.array([False, True, False]),
            gt_seg_map=np.full((20, 30), 5, np.uint8),
        )
    )['data_samples']
    assert (
        type(sample.gt_instances.bboxes) is torch.Tensor
        and sample.gt_instances.bboxes.tolist() == boxes[[0, 2]].tolist()
    )
    assert sample.gt_instances.labels.tolist() == [2, 1]
    assert sample.ignored_instances.bboxes.tolist() == boxes[
        1:2
    ].tolist() and sample.ignored_instances.labels.tolist() == [0]
    assert sample.gt_sem_seg.data.shape == (1, 20, 30) and sample.gt_sem_seg.data.dtype == torch.int64


def test_images_and_meta():
    given = results()
    packed = PackFusionInputs()(given)
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs['first'].dtype == torch.uint8 and inputs['second'].dtype == torch.float32
    assert inputs['first'].is_contiguous() and inputs['second'].shape == (1, 20, 30)
    np.testing.assert_array_equal(inputs['first'][0].numpy(), given['first'][..., 2])  # red first
    np.testing.assert_array_equal(inputs['second'][0].numpy(), given['second'][..., 0])
    assert sample.metainfo == {
        key: given[key]
        for key in ('img_id', 'sample_id', 'img_shape', 'ori_shape', 'scale_factor', 'flip', 'instances')
    }
    assert 'gt_instances' not in sample and 'gt_sem_seg' not in sample


def test_no_boxes():
    empty = dict(gt_bboxes=HorizontalBoxes(np.zeros((0, 4))), gt_bboxes_labels=np.zeros(0), gt_ignore_flags=np.zeros(0))
    sample = PackFusionInputs()(results(**empty))['data_samples']
    assert sample.gt_instances.bboxes.shape == (0, 4) and sample.gt_instances.labels.dtype == torch.int64
    assert sample.ignored_instances.bboxes.shape == (0, 4)


def test_errors():
    with pytest.raises(KeyError, match='LoadPair'):
        PackFusionInputs()(dict(first=np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(ValueError, match='sample a have the sizes.*Paired'):
        PackFusionInputs()(dict(results(), second=np.zeros((10, 30, 1), np.uint8)))
    with pytest.raises(ValueError, match='uint8 or float32'):
        PackFusionInputs()(dict(results(), second=np.zeros((20, 30, 1))))


@pytest.mark.parametrize(
    'value, words',
    [
        (1.5, 'values from 0 to 1.5.*Paired'),
        (-0.1, 'values from -0.1 to'),
        (float('nan'), 'NaN'),
        (255.0, r'second source of sample a \(night/a.png\) holds float32.*to 255'),
    ],
)
def test_float_sources_lie_in_the_unit_range(value, words):
    given = results(second_path='night/a.png')
    given['second'][:] = 0
    given['second'][3, 4] = value
    with pytest.raises(ValueError, match=words):
        PackFusionInputs()(given)
    given['second'][3, 4] = 1.0005  # rounding
    PackFusionInputs()(given)
