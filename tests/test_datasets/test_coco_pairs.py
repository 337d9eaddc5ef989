"""Pairs with a COCO file: classes by name, masks, and clear errors on files that are not whole."""

import json

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mmfusion.datasets import CocoPairDataset, DemoPairs
from mmfusion.datasets.annotations import read_coco
from mmfusion.fileio.errors import PairDataError

POLYGON = [[4.0, 4.0, 20.0, 4.0, 20.0, 12.0, 4.0, 12.0]]
LOAD = [
    dict(type='LoadPair'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Paired', transform=dict(type='mmdet.Resize', scale=(64, 48), keep_ratio=False)),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=1.0)),
    dict(type='PackFusionInputs'),
]


def content():
    """Two images of 32x24; a car with a polygon and a crowd of people with run lengths in the first, nothing in the
    second.
    """
    crowd = dict(size=[24, 32], counts=[100, 20, 24 * 32 - 120])
    return dict(
        images=[
            dict(id=7, file_name='left/a.jpg', width=32, height=24),
            dict(id=9, file_name='b.png', width=32, height=24),
        ],
        categories=[dict(id=3, name='car'), dict(id=1, name='person')],
        annotations=[
            dict(id=1, image_id=7, category_id=3, bbox=[4, 4, 16, 8], segmentation=POLYGON, area=128, iscrowd=0),
            dict(id=2, image_id=7, category_id=1, bbox=[0, 0, 10, 10], segmentation=crowd, iscrowd=1),
        ],
    )


@pytest.fixture
def folder(tmp_path):
    for source in ('visible', 'infrared'):
        (tmp_path / source).mkdir()
        for name in 'ab':
            cv2.imwrite(str(tmp_path / source / f'{name}.png'), np.full((24, 32, 3), 90, np.uint8))
    return tmp_path


def dataset(folder, found=None, **options):
    (folder / 'annotations.json').write_text(json.dumps(content() if found is None else found))
    return CocoPairDataset(data_root=str(folder), **options)


def test_items(folder):
    data = dataset(folder)
    assert data.metainfo['classes'] == ('person', 'car')
    item = data.get_data_info(0)
    assert [(instance['bbox'], instance['bbox_label'], instance['ignore_flag']) for instance in item['instances']] == [
        ([4.0, 4.0, 20.0, 12.0], 1, 0),
        ([0.0, 0.0, 10.0, 10.0], 0, 1),
    ]
    assert item['instances'][0]['mask'] == POLYGON and item['sample_id'] == 'a'
    assert data.get_data_info(1)['instances'] == []


def test_chosen_classes(folder):
    data = dataset(folder, metainfo=dict(classes=('car',)))
    assert [instance['bbox_label'] for instance in data.get_data_info(0)['instances']] == [0]
    with pytest.raises(ValueError, match="unknown classes .'tram'.; known are .'person', 'car'."):
        dataset(folder, metainfo=dict(classes=('tram',)))


def test_masks_follow_the_pipeline(folder):
    """Twice as large and mirrored, as the boxes; the crowd goes where ignored boxes go."""
    sample = dataset(folder, pipeline=LOAD)[0]['data_samples']
    boxes, masks = sample.gt_instances.bboxes, sample.gt_instances.masks
    assert boxes.tolist() == [[24.0, 8.0, 56.0, 24.0]] and len(masks) == 1 and len(sample.ignored_instances.masks) == 1
    rows, columns = np.nonzero(masks.masks[0])
    assert (
        abs(rows.min() - 8) <= 1
        and abs(rows.max() - 23) <= 2
        and abs(columns.min() - 24) <= 2
        and abs(columns.max() - 55) <= 1
    )


def test_demo_pairs_have_masks():
    init_default_scope('mmfusion')
    load = [
        dict(type='LoadPair'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='PackFusionInputs'),
    ]
    sample = DemoPairs(length=2, size=(96, 128), pipeline=load)[1]['data_samples'].gt_instances
    assert len(sample) > 1
    for box, mask in zip(sample.bboxes.numpy(), sample.masks.masks):
        rows, columns = np.nonzero(mask)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == tuple(box)


def test_boxes_without_masks_are_told_where_masks_are_loaded(folder):
    found = content()
    del found['annotations'][0]['segmentation']
    dataset(folder, found)
    with pytest.raises(
        PairDataError, match=r"annotations.json \(a\).*'car' has a box and no mask.*with_mask=True.*CocoPairDataset"
    ):
        dataset(folder, found, pipeline=LOAD)
    assert len(dataset(folder, found, pipeline=LOAD, on_error='skip').get_data_info(0)['instances']) == 1


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda found: found.pop('images'), "'images' must be a list"),
        (lambda found: found['images'].append(3), "'images' must be a list of objects"),
        (lambda found: found['images'][0].update(id='x'), "'id' must be an integer, found 'x'"),
        (lambda found: found['images'][1].update(file_name='right/a.png'), "two images named 'a'"),
        (lambda found: found['annotations'][0].update(category_id=5), 'category_id 5'),
        (lambda found: found['annotations'][0].update(image_id=5), 'image_id 5'),
        (lambda found: found['annotations'][0].update(bbox=[1, 2, 3]), 'four numbers'),
        (lambda found: found['annotations'][0].update(bbox=[1, 2, float('inf'), 4]), 'four numbers'),
        (
            lambda found: found['annotations'][0].update(segmentation=[[1, 2, 3, 4]]),
            'polygons of at least three points',
        ),
        (lambda found: found['annotations'][0].update(segmentation=dict(size=[24, 32], counts=[5])), 'run lengths'),
        (lambda found: found['annotations'][0].update(bbox=[40, 40, 5, 5]), 'exceeds the image'),
        (lambda found: found['images'].pop(), "no image named 'b'"),
        (lambda found: found['images'][0].update(width=64), 'its annotation is for 64x24'),
    ],
)
def test_files_that_are_not_whole(folder, change, message):
    found = content()
    change(found)
    with pytest.raises(PairDataError, match=message):
        dataset(folder, found)


@pytest.mark.parametrize('text', ['', '[1]', '{"images": ', '[' * 100000])
def test_files_that_are_no_coco_json(folder, text):
    (folder / 'annotations.json').write_text(text)
    with pytest.raises(PairDataError, match='annotations.json'):
        read_coco(str(folder / 'annotations.json'))


def test_no_file(folder):
    with pytest.raises(FileNotFoundError, match='annotations.json'):
        CocoPairDataset(data_root=str(folder))
