"""DemoPairs: the same everywhere, exact labels, objects that one image alone does not show."""

import subprocess
import sys

import numpy as np
import pytest

from mmfusion.datasets import DemoPairs
from mmfusion.datasets.demo.scenes import draw_scene, render_pair
from mmfusion.datasets.demo.scenes.shapes import draw_parts

SIZE = (128, 160)
DIGEST = """
import hashlib
from mmfusion.datasets import DemoPairs
pair = DemoPairs(length=9, size=(128, 160), seed=3, split='test').render(7)
print(hashlib.sha256(pair.visible.tobytes() + pair.infrared.tobytes() + pair.boxes.tobytes() + pair.seg_map.tobytes()).hexdigest())
"""


def test_another_process_renders_the_same(repo_dir):
    def run():
        return subprocess.run(
            [sys.executable, '-c', DIGEST], cwd=repo_dir, check=True, capture_output=True, text=True
        ).stdout

    assert run() == run() != ''


def test_scenes_do_not_depend_on_order_or_global_generators():
    dataset = DemoPairs(length=6, size=SIZE)
    forward = [dataset.render(index).visible for index in range(6)]
    np.random.seed(99)
    for index in reversed(range(6)):
        np.testing.assert_array_equal(DemoPairs(length=6, size=SIZE).get_data_info(index)['first'], forward[index])
    np.testing.assert_array_equal(DemoPairs(length=6, size=SIZE, indices=[4]).get_data_info(0)['first'], forward[4])


def test_splits_and_seeds_share_no_scene():
    scenes = [
        DemoPairs(length=20, size=SIZE, seed=seed, split=split).render(index).infrared.tobytes()
        for seed in (0, 1)
        for split in ('train', 'val', 'test')
        for index in range(20)
    ]
    assert len(set(scenes)) == len(scenes)


def test_boxes_are_tight_around_the_visible_part_of_the_masks():
    dataset, overlapping = DemoPairs(length=40, size=SIZE), 0
    for index in range(40):
        pair = dataset.render(index)
        assert pair.seg_map.shape == pair.instance_map.shape == SIZE
        for number, (box, label) in enumerate(zip(pair.boxes, pair.labels), 1):
            rows, columns = np.nonzero(pair.instance_map == number)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (pair.seg_map[rows, columns] == label + 1).all()
        assert ((pair.seg_map == 0) == (pair.instance_map == 0)).all()
        for i, a in enumerate(pair.boxes):
            overlapping += any(
                min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1]) for b in pair.boxes[i + 1 :]
            )
    assert overlapping > 5  # occlusion happens


def contrast(image, pair, number):
    """Mean absolute difference between an object and a rim around its box, in units of gray levels."""
    x1, y1, x2, y2 = pair.boxes[number - 1].astype(int)
    rim = np.zeros(SIZE, bool)
    rim[max(y1 - 3, 0) : y2 + 3, max(x1 - 3, 0) : x2 + 3] = True
    rim &= pair.instance_map == 0
    grey = image.mean(axis=2)
    inside = grey[pair.instance_map == number]
    return abs(np.median(inside) - np.median(grey[rim])) + inside.std()


def test_objects_show_where_they_should():
    dataset = DemoPairs(length=120, size=SIZE)
    found = {look: [] for look in ('both', 'infrared_only', 'visible_only')}
    for index in range(120):
        pair = dataset.render(index)
        for number, look in enumerate(pair.looks, 1):
            if not pair.ignored[number - 1]:
                found[look].append((contrast(pair.visible, pair, number), contrast(pair.infrared, pair, number)))
    visible = {look: np.median([values[0] for values in rows]) for look, rows in found.items()}
    infrared = {look: np.median([values[1] for values in rows]) for look, rows in found.items()}
    assert min(map(len, found.values())) > 60  # a good share of each
    assert visible['visible_only'] > 1.8 * visible['infrared_only'] and visible['both'] > 1.3 * visible['infrared_only']
    assert (
        infrared['infrared_only'] > 1.8 * infrared['visible_only'] and infrared['both'] > 1.8 * infrared['visible_only']
    )


def test_day_and_night_and_counts():
    day, night = (DemoPairs(length=8, size=SIZE, night_ratio=ratio) for ratio in (0.0, 1.0))
    assert np.mean([day.render(i).visible.mean() for i in range(8)]) > 1.5 * np.mean(
        [night.render(i).visible.mean() for i in range(8)]
    )
    empty = DemoPairs(length=3, size=SIZE, num_objects=(0, 0), num_distractors=(0, 0))
    assert empty.get_data_info(1)['instances'] == [] and not empty.get_data_info(1)['gt_seg_map'].any()
    both = DemoPairs(length=20, size=SIZE, single_modality_ratio=0.0)
    assert {look for index in range(20) for look in both.render(index).looks} == {'both'}


def test_distractors_carry_no_label():
    rng = np.random.default_rng(0)
    scene = draw_scene(rng, SIZE, num_objects=(0, 0), num_distractors=(3, 3))
    assert scene.things and not len(render_pair(rng, scene).boxes)


@pytest.mark.parametrize('size', [(64, 64), (97, 131), (160, 192), (300, 400)])
def test_any_size_and_item(size):
    item = DemoPairs(length=2, size=size).get_data_info(1)
    assert item['first'].shape == (*size, 3) and item['first'].dtype == np.uint8
    assert item['second'].shape == (*size, 1) and item['second'].dtype == np.uint8
    assert item['gt_seg_map'].shape == size and item['seg_fields'] == ['gt_seg_map']
    assert item['img_id'] == 1 and item['sample_id'] == 'train_00001'
    for instance in item['instances']:
        x1, y1, x2, y2 = instance['bbox']
        assert 0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0] and instance['bbox_label'] in (0, 1, 2)


@pytest.mark.parametrize('kind', ['person', 'car', 'lamp'])
@pytest.mark.parametrize('variant', [0.0, 0.4, 0.99])
def test_silhouettes_fill_their_box(kind, variant):
    parts = draw_parts(kind, 60, 40, variant)
    rows, columns = np.nonzero(parts)
    assert rows.max() - rows.min() > 52 and columns.max() - columns.min() > 16
    np.testing.assert_array_equal(draw_parts(kind, 60, 40, variant, flip=True), parts[:, ::-1])


BAD = [
    dict(split='all'),
    dict(length=0),
    dict(size=(32, 160)),
    dict(night_ratio=2),
    dict(num_objects=(3, 1)),
    dict(seed=-1),
]


@pytest.mark.parametrize('kwargs', BAD)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        DemoPairs(**kwargs)
