"""Decoding at a reduced size: sources, boxes, masks and class maps stay where decoding in full puts them."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose

from mmfusion.datasets.transforms import LoadPair
from mmfusion.registry import TRANSFORMS
from mmfusion.utils import register_all_modules

HEIGHT, WIDTH = 258, 341  # not whole multiples of 2, 4 and 8


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Two jpg files with a bright box at the same place, and the pair with labels of it."""
    register_all_modules()
    folder, pair = tmp_path_factory.mktemp('pair'), dict(sample_id='a', img_id=0, seg_fields=[])
    box = [80, 40, 240, 200]
    for name, shape in (('first', (HEIGHT, WIDTH, 3)), ('second', (HEIGHT, WIDTH))):
        image = np.full(shape, 40, np.uint8)
        image[box[1] : box[3], box[0] : box[2]] = 220
        if name == 'first':
            image[..., 2] += 9  # in color
        pair[f'{name}_path'] = str(folder / f'{name}.jpg')
        cv2.imwrite(pair[f'{name}_path'], image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    pair['instances'] = [dict(bbox=box, bbox_label=0, ignore_flag=0, mask=[[80, 40, 240, 40, 240, 200, 80, 200]])]
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[box[1] : box[3], box[0] : box[2]] = 1
    return dict(pair, gt_seg_map=classes, height=HEIGHT, width=WIDTH)


def pipeline(resize, reduce_to=None, **load):
    steps = [
        dict(type='LoadPair', reduce_to=reduce_to, **load),
        dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='LoadClassMap'),
        dict(type='Paired', transform=resize, expand_grey=False),
        dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=1.0), expand_grey=False),
        dict(type='PackFusionInputs'),
    ]
    return Compose([TRANSFORMS.build(step) for step in steps])


@pytest.mark.parametrize('scale', [(160, 120), (85, 64), (40, 30)], ids=['half', 'quarter', 'eighth'])
@pytest.mark.parametrize('keep_ratio', [False, True])
def test_labels_are_those_of_full_decoding_and_pixels_close(files, scale, keep_ratio):
    options = dict(scale=scale, keep_ratio=keep_ratio)
    full = pipeline(dict(type='mmdet.Resize', **options))(dict(files))
    same = pipeline(dict(type='ReducedResize', **options))(dict(files))
    reduced = pipeline(dict(type='ReducedResize', **options), reduce_to=scale)(dict(files))
    for one in (same, reduced):
        sample, expected = one['data_samples'], full['data_samples']
        for key in ('ori_shape', 'img_shape', 'scale_factor', 'flip'):
            assert sample.metainfo[key] == expected.metainfo[key], key
        np.testing.assert_array_equal(sample.gt_instances.bboxes, expected.gt_instances.bboxes)
        np.testing.assert_array_equal(sample.gt_instances.masks.to_ndarray(), expected.gt_instances.masks.to_ndarray())
        np.testing.assert_array_equal(sample.gt_sem_seg.data, expected.gt_sem_seg.data)
    left, top, right, bottom = (int(value) for value in full['data_samples'].gt_instances.bboxes[0].round())
    for source in ('first', 'second'):
        assert (same['inputs'][source] == full['inputs'][source]).all()
        difference = (reduced['inputs'][source].float() - full['inputs'][source].float()).abs()
        assert (
            difference.mean() < 4
        )  # OpenCV's resize takes single pixels where it shrinks, the reduced decoding averages
        image = reduced['inputs'][source].float()
        inside = image[:, top + 2 : bottom - 2, left + 2 : right - 2]
        assert (
            inside.min() > 200
            and image[:, : top - 2].max() < 60
            and image[:, :, : left - 2].max() < 60
            and image[:, :, right + 2 :].max() < 60
        )


@pytest.mark.parametrize(
    'smallest, factor', [((171, 129), 1), ((170, 129), 2), ((86, 64), 2), ((85, 64), 4), ((42, 32), 8), ((16, 16), 8)]
)
def test_never_below_what_is_asked_for(files, smallest, factor):
    results = LoadPair(reduce_to=smallest)(dict(files))
    assert results['first'].shape == (-(-HEIGHT // factor), -(-WIDTH // factor), 3)
    assert results['second'].shape == (-(-HEIGHT // factor), -(-WIDTH // factor), 1)
    assert results['ori_shape'] == results['img_shape'] == (HEIGHT, WIDTH)
    assert results.get('reduced_from') == ((HEIGHT, WIDTH) if factor > 1 else None)


def test_png_files_and_arrays_are_decoded_in_full(files, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), cv2.imread(files['first_path']))
    load = LoadPair(reduce_to=(40, 30))
    assert load(dict(files, first_path=str(tmp_path / 'a.png')))['second'].shape == (
        HEIGHT,
        WIDTH,
        1,
    )  # both sources or none
    arrays = load(dict(files, first=np.zeros((64, 80, 3), np.uint8), second=np.zeros((64, 80), np.uint8)))
    assert arrays['first'].shape == (64, 80, 1) and 'reduced_from' not in arrays


def test_random_sizes_by_way_of_mmdet(files):
    resize = dict(
        type='mmdet.RandomResize',
        scale=(80, 60),
        ratio_range=(0.8, 1.2),
        resize_type='mmfusion.ReducedResize',
        keep_ratio=True,
    )
    sample = pipeline(resize, reduce_to=(96, 72))(dict(files))
    height, width = sample['data_samples'].img_shape
    assert sample['inputs']['first'].shape == (3, height, width) and sample['inputs']['second'].shape == (
        1,
        height,
        width,
    )
    np.testing.assert_allclose(sample['data_samples'].scale_factor, (width / WIDTH, height / HEIGHT))


def test_a_cache_keeps_the_reduced_pair(files, tmp_path):
    load = LoadPair(reduce_to=(85, 64), cache=dict(folder=str(tmp_path), max_gib=0.01))
    plain = LoadPair(reduce_to=(85, 64))(dict(files))
    for _ in range(2):
        results = load(dict(files))
        np.testing.assert_array_equal(results['first'], plain['first'])
        assert results['reduced_from'] == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        LoadPair(cache=dict(folder=str(tmp_path), max_gib=0.01))(dict(files))['first'], cv2.imread(files['first_path'])
    )


def test_what_does_not_know_reduced_sizes_is_refused(files):
    with pytest.raises(RuntimeError, match='must be dict.type=.ReducedResize'):
        pipeline(dict(type='mmdet.Resize', scale=(85, 64)), reduce_to=(85, 64))(dict(files))
    with pytest.raises(ValueError, match='no ReducedResize followed'):
        TRANSFORMS.build(dict(type='PackFusionInputs'))(LoadPair(reduce_to=(85, 64))(dict(files)))
    with pytest.raises(ValueError, match='takes no scale_factor'):
        TRANSFORMS.build(dict(type='ReducedResize', scale=(85, 64), scale_factor=0.5))
    for value in ((640,), (640, 0), (640.0, 480), (-640, 480)):
        with pytest.raises(ValueError, match=r'reduce_to must be \(width, height\)'):
            LoadPair(reduce_to=value)
