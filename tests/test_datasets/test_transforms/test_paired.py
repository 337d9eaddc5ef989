"""Paired: sources, boxes and masks move together under any transform of mmcv, mmdet and mmseg."""

import random

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmfusion.datasets.transforms import PackFusionInputs, Paired
from mmfusion.registry import TRANSFORMS

VALUES = (90, 150, 220)  # brightness of the objects; class map values are 1, 2, 3
BOXES = ((20, 30, 60, 75), (90, 20, 150, 60), (100, 90, 130, 140))


def make_sample(box_type='mmdet'):
    """Objects that know their number in both sources and in the class map; mmcv wants boxes as arrays, mmdet as
    structures.
    """
    boxes = np.array(BOXES, np.float32)
    first, second, seg = (
        np.zeros((160, 200, 3), np.uint8),
        np.zeros((160, 200, 1), np.uint8),
        np.zeros((160, 200), np.uint8),
    )
    for number, ((x1, y1, x2, y2), value) in enumerate(zip(BOXES, VALUES), 1):
        first[y1:y2, x1:x2] = (value, 255 - value, value // 2)
        second[y1:y2, x1:x2] = value
        seg[y1:y2, x1:x2] = number
    return dict(
        first=first,
        second=second,
        img_shape=(160, 200),
        ori_shape=(160, 200),
        gt_bboxes=HorizontalBoxes(boxes) if box_type == 'mmdet' else boxes,
        gt_bboxes_labels=np.arange(3),
        gt_ignore_flags=np.zeros(3, bool),
        gt_seg_map=seg,
        seg_fields=['gt_seg_map'],
    )


def extent(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def check_agreement(results, with_seg=True, with_boxes=True):
    """Every box must lie where its object is, in both sources and in the class map."""
    height, width = results['img_shape']
    assert results['first'].shape == (height, width, 3) and results['second'].shape == (height, width, 1)
    blue, infrared = results['first'][..., 0].astype(int), results['second'][..., 0].astype(int)
    # The blue channel and infrared were drawn equal, so they stay equal whatever the geometry.
    np.testing.assert_array_equal(blue, infrared)
    found, tolerance = 0, 0.6 + max(results.get('scale_factor', (1,)))  # borders blur over one pixel of the original
    if with_boxes:
        boxes = np.asarray(getattr(results['gt_bboxes'], 'tensor', results['gt_bboxes'])).clip(
            [0, 0, 0, 0], [width, height, width, height]
        )
        for box, label in zip(boxes, results['gt_bboxes_labels']):
            at = np.abs(infrared - VALUES[label]) < 12
            inner = np.zeros_like(at)
            inner[int(box[1]) : int(np.ceil(box[3])), int(box[0]) : int(np.ceil(box[2]))] = True
            if (box[2] - box[0]) * (box[3] - box[1]) < 100:
                continue
            assert np.abs(extent(at & inner) - box).max() <= tolerance
            found += 1
    if with_seg:
        seg = results['gt_seg_map']
        assert seg.shape == (height, width)
        for number, value in enumerate(VALUES, 1):
            strong = np.abs(infrared - value) < 12
            if strong.sum() > 60:
                assert (seg[strong] == number).mean() > 0.93
                found += 1
    return found


GEOMETRY = {
    'mmcv.Resize': (dict(type='mmcv.Resize', scale=(333, 211), keep_ratio=False), True),
    'mmcv.RandomResize': (
        dict(type='mmcv.RandomResize', scale=(300, 240), ratio_range=(0.5, 2.0), keep_ratio=True),
        True,
    ),
    'mmcv.RandomChoiceResize': (dict(type='mmcv.RandomChoiceResize', scales=[(150, 100), (300, 400)]), True),
    'mmcv.RandomFlip': (
        dict(type='mmcv.RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']),
        True,
    ),
    'mmdet.Resize': (dict(type='mmdet.Resize', scale=(320, 256), keep_ratio=False), True),
    'mmdet.Resize at random': (
        dict(type='RandomResize', resize_type='mmdet.Resize', scale=[(150, 120), (400, 300)], keep_ratio=False),
        True,
    ),
    'mmdet.Resize by choice': (
        dict(type='RandomChoiceResize', resize_type='mmdet.Resize', scales=[(150, 100), (300, 400)]),
        True,
    ),
    'mmdet.RandomFlip': (dict(type='mmdet.RandomFlip', prob=0.5), True),
    'mmdet.RandomCrop': (dict(type='mmdet.RandomCrop', crop_size=(100, 120), allow_negative_crop=True), True),
    'mmdet.RandomCrop relative': (
        dict(type='mmdet.RandomCrop', crop_type='relative_range', crop_size=(0.5, 0.5), allow_negative_crop=True),
        True,
    ),
    'mmdet.MinIoURandomCrop': (dict(type='mmdet.MinIoURandomCrop'), True),
    'mmdet.Expand': (dict(type='mmdet.Expand', mean=(0, 0, 0), prob=0.7, seg_ignore_label=255), True),
    'mmdet.Pad': (dict(type='mmdet.Pad', size_divisor=64, pad_val=dict(img=(0, 0, 0), seg=255)), True),
    'mmdet.RandomShift': (dict(type='mmdet.RandomShift', prob=1.0, max_shift_px=20), False),
    'mmdet.RandomAffine': (
        dict(type='mmdet.RandomAffine', max_rotate_degree=0, max_shear_degree=0, border_val=(0, 0, 0)),
        False,
    ),
}


# Expand fills three channels: this is what expand_grey is for
@pytest.mark.parametrize(
    'name, expand_grey',
    [(name, expand) for name in GEOMETRY for expand in (True, False) if expand or name != 'mmdet.Expand'],
)
def test_boxes_masks_and_sources_agree(name, expand_grey):
    config, with_seg = GEOMETRY[name]
    if not expand_grey and name == 'mmdet.Pad':
        config = dict(config, pad_val=dict(img=0, seg=255))
    paired, found, changed = Paired(config, expand_grey=expand_grey), 0, 0
    for _ in range(12):
        sample = make_sample(name.split('.')[0])
        before = sample['first'].copy()
        results = paired(sample)
        if results is None:
            continue
        found += check_agreement(results, with_seg)
        changed += results['first'].shape != before.shape or not np.array_equal(results['first'], before)
    assert found > 12 and changed > 2


@pytest.mark.parametrize(
    'config',
    [
        dict(type='mmseg.RandomCrop', crop_size=(90, 110), cat_max_ratio=0.75),
        dict(type='mmseg.Resize', scale=(333, 211), keep_ratio=False),
        dict(type='mmseg.RandomRotFlip'),
        dict(type='mmseg.RandomRotate', prob=1.0, degree=20, seg_pad_val=255),
        dict(type='mmseg.ResizeToMultiple', size_divisor=32),
        dict(type='mmseg.RandomCutOut', prob=1.0, n_holes=3, cutout_shape=(20, 20)),
    ],
    ids=lambda config: config['type'],
)
def test_mmseg_transforms(config):
    paired, found = Paired(config), 0
    for _ in range(8):
        found += check_agreement(
            paired(make_sample('mmseg')), with_seg=config['type'] != 'mmseg.RandomCutOut', with_boxes=False
        )
    if config['type'] != 'mmseg.RandomCutOut':
        assert found > 8


def test_rotation_keeps_objects_inside_their_boxes():
    paired = Paired(dict(type='mmdet.RandomAffine', max_rotate_degree=15, border_val=(0, 0, 0)))
    for _ in range(10):
        results = paired(make_sample())
        np.testing.assert_array_equal(results['first'][..., 0], results['second'][..., 0])
        for box, label in zip(np.asarray(results['gt_bboxes'].tensor), results['gt_bboxes_labels']):
            rows, columns = np.nonzero(np.abs(results['second'][..., 0].astype(int) - VALUES[label]) < 8)
            if len(rows) > 100:
                inside = (columns >= box[0] - 2) & (columns <= box[2] + 1) & (rows >= box[1] - 2) & (rows <= box[3] + 1)
                assert inside.mean() > 0.9  # the rest are mixed pixels at borders of brighter objects


def test_without_the_reset_the_sources_drift_apart():
    """The test above can fail: two independent runs of a random crop disagree."""
    crop, differ = TRANSFORMS.build(GEOMETRY['mmdet.RandomCrop'][0]), 0
    for _ in range(5):
        first, second = (crop(dict(make_sample(), img=make_sample()['second'])) for _ in range(2))
        differ += not np.array_equal(first['img'], second['img'])
    assert differ > 0


class _Draws:
    """Adds one number of every generator, and one of its own."""

    def __init__(self):
        self.own = np.random.default_rng(5)

    def __call__(self, results):
        number = np.random.uniform() + random.random() + float(torch.rand(())) + self.own.uniform()
        return dict(results, img=results['img'] + number, drawn=number)


def test_all_generators_are_reset_and_go_on():
    paired = Paired(_Draws())
    sample = lambda: dict(first=np.zeros((4, 5, 3)), second=np.zeros((4, 5, 1)))  # noqa: E731
    once, twice = paired(sample()), paired(sample())
    assert once['first'][0, 0, 0] == once['second'][0, 0, 0] == once['drawn']
    assert twice['drawn'] != once['drawn']
    np.random.seed(3), random.seed(3), torch.manual_seed(3)
    alone = _Draws()
    expected = [alone(dict(img=np.zeros((1, 1, 3))))['drawn'] for _ in range(3)]
    np.random.seed(3), random.seed(3), torch.manual_seed(3)
    paired = Paired(_Draws())
    # The stream goes on as if the transform had run once per sample.
    assert [paired(sample())['drawn'] for _ in range(3)] == expected


def test_noise_of_the_image_shape_is_shared():
    noise = Paired(lambda results: dict(results, img=results['img'] + np.random.normal(size=results['img'].shape)))
    results = noise(dict(first=np.zeros((6, 7, 3)), second=np.zeros((6, 7, 1))))
    np.testing.assert_array_equal(results['first'][..., :1], results['second'])


def test_grey_stays_grey_and_labels_are_transformed_once():
    results = Paired(dict(type='mmdet.Resize', scale=(400, 320), keep_ratio=False))(make_sample())
    assert results['second'].shape == (320, 400, 1) and results['second'].flags.c_contiguous
    np.testing.assert_allclose(np.asarray(results['gt_bboxes'].tensor), np.array(BOXES) * 2)
    assert results['scale_factor'] == (2.0, 2.0) and 'img' not in results


def test_rejected_crop_is_none():
    assert Paired(lambda results: None)(make_sample()) is None


def test_errors():
    with pytest.raises(RuntimeError, match='the size'):
        calls = iter([(0, 10), (0, 20)])
        Paired(lambda r: dict(r, img=r['img'][slice(*next(calls))]))(make_sample())
    with pytest.raises(RuntimeError, match='rejected'):
        answers = iter([True, False])
        Paired(lambda r: r if next(answers) else None)(make_sample())
    with pytest.raises(KeyError, match='LoadPair'):
        Paired(lambda r: r)(dict(first=np.zeros((4, 4, 3))))
    with pytest.raises(TypeError, match='mixes several samples'):
        Paired(dict(type='mmdet.Mosaic'))
    with pytest.raises(TypeError, match='config or a callable'):
        Paired(3)


PHOTOMETRIC = [
    dict(type='mmdet.PhotoMetricDistortion', brightness_delta=32),
    dict(type='mmseg.PhotoMetricDistortion'),
    dict(type='mmdet.Expand', mean=(104, 117, 123), prob=1.0, seg_ignore_label=255),
    dict(type='mmcv.Pad', size_divisor=64, pad_val=dict(img=(114, 114, 114))),
]


@pytest.mark.parametrize('config', PHOTOMETRIC, ids=lambda config: config['type'])
def test_the_source_before_decides_type_and_range(config):
    eight, unit = make_sample(), make_sample()
    unit.update({source: unit[source].astype(np.float32) / 255 for source in ('first', 'second')})
    seen = []
    for sample in (eight, unit):
        np.random.seed(5), random.seed(5)
        seen.append(Paired(config)(sample))
    for source in ('first', 'second'):
        bytes_, floats = (results[source] for results in seen)
        assert bytes_.dtype == np.uint8 and floats.dtype == np.float32
        assert floats.min() >= 0 and floats.max() <= 1
        difference = np.abs(floats * 255 - bytes_)
        assert (
            difference.max() <= 24 and difference.mean() < 0.6
        )  # mmseg's rounds hue and saturation of 8-bit images at every step
        assert PackFusionInputs()(dict(seen[1]))['inputs'][source].max() <= 1


def test_the_transform_is_more_than_a_passage():
    """The test above could pass with a transform that did nothing."""
    before = make_sample()
    changed = Paired(PHOTOMETRIC[0])
    assert any(not np.array_equal(changed(make_sample())['first'], before['first']) for _ in range(5))


def test_float_results_of_an_8_bit_source_are_rounded_and_clipped():
    brighter = Paired(lambda results: dict(results, img=results['img'].astype(np.float32) + 100.6))
    results = brighter(make_sample())
    assert results['first'].dtype == np.uint8 and set(np.unique(results['second'])) == {101, 191, 251, 255}


def test_own_transforms_see_the_unit_range():
    seen = []
    sample = make_sample()
    sample.update({source: sample[source].astype(np.float32) / 255 for source in ('first', 'second')})
    look = Paired(lambda results: seen.append(results['img'].max()) or results)
    assert look.unit_range and not Paired(dict(type='mmdet.Resize', scale=(20, 20))).unit_range
    assert Paired(dict(type='RandomResizedCrop', size=32)).unit_range
    look(dict(sample))
    Paired(look.wrapped, unit_range=False)(dict(sample))
    assert seen[0] <= 1 < seen[2] <= 255


def test_normalization_is_refused():
    normalize = Paired(dict(type='mmcv.Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]))
    with pytest.raises(ValueError, match='as if it had been normalized.*task network'):
        normalize(make_sample())
    sample = make_sample()
    sample['first'] = sample['first'].astype(np.float32) / 255
    with pytest.raises(ValueError, match='unit_range=True'):
        Paired(dict(type='mmcv.RandomApply', transforms=[dict(type='mmfusion.RandomResizedCrop', size=32)], prob=1.0))(
            {key: sample[key] for key in ('first', 'second')}
        )
