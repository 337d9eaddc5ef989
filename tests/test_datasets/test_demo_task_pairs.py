"""Procedural exposure and focus pairs: the same everywhere, each source lacks what the other has, ground truth fits."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmfusion.datasets import DemoExposurePairs, DemoFocusPairs

SIZE = (96, 128)
BOTH = pytest.mark.parametrize('cls', [DemoExposurePairs, DemoFocusPairs])
DIGEST = """
import hashlib
from mmfusion.datasets import DemoExposurePairs, DemoFocusPairs
pairs = [cls(length=9, size=(96, 128), seed=3, split='test').render(7) for cls in (DemoExposurePairs, DemoFocusPairs)]
print(hashlib.sha256(b''.join(image.tobytes() for pair in pairs for image in pair)).hexdigest())
"""


def test_another_process_renders_the_same(repo_dir):
    runs = [
        subprocess.run([sys.executable, '-c', DIGEST], cwd=repo_dir, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ''


@BOTH
def test_pairs_do_not_depend_on_order_and_splits_share_none(cls):
    forward = [cls(length=4, size=SIZE).render(index)[0] for index in range(4)]
    np.random.seed(99)
    for index in reversed(range(4)):
        np.testing.assert_array_equal(cls(length=4, size=SIZE).get_data_info(index)['first'], forward[index])
    images = {
        cls(length=6, size=SIZE, seed=seed, split=split).render(index)[1].tobytes()
        for seed in (0, 1)
        for split in ('train', 'val', 'test')
        for index in range(6)
    }
    assert len(images) == 36
    assert len({cls(length=6, split=split).metainfo['split_hash'] for split in ('train', 'test')}) == 2


def test_kinds_share_no_scene_and_no_hash():
    hashes = {cls(length=4).metainfo['split_hash'] for cls in (DemoExposurePairs, DemoFocusPairs)}
    states = {cls(length=4).generator(2).integers(2**60) for cls in (DemoExposurePairs, DemoFocusPairs)}
    assert len(hashes) == len(states) == 2


@BOTH
@pytest.mark.parametrize('size', [(64, 64), (97, 131), (300, 400)])
def test_any_size_and_item(cls, size):
    item = cls(length=2, size=size).get_data_info(1)
    for source in ('first', 'second'):
        assert item[source].shape == (*size, 3) and item[source].dtype == np.uint8
    assert (item['height'], item['width'], item['sample_id'], item['img_id']) == (*size, 'train_00001', 1)


def test_exposures_complement_each_other():
    dataset = DemoExposurePairs(length=12, size=SIZE)
    clipped, dark, both, texture = [], [], [], []
    for index in range(12):
        over, under, radiance = dataset.render(index)
        assert over.mean() > under.mean() + 40
        grey_over, grey_under = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (over, under))
        clipped.append((grey_over > 250).mean())
        dark.append((grey_under < 40).mean())
        both.append(((grey_over > 250) & (grey_under < 40)).mean())
        light = radiance.mean(2)
        strong, weak = light > np.quantile(light, 0.9), light < np.quantile(light, 0.1)
        texture.append([image[part].std() for part in (strong, weak) for image in (grey_over, grey_under)])
    in_light_over, in_light_under, in_shade_over, in_shade_under = np.mean(texture, 0)
    assert in_light_under > 2 * in_light_over and in_shade_over > 2 * in_shade_under
    assert 0.1 < np.mean(clipped) < 0.6 and 0.1 < np.mean(dark) < 0.7 and np.mean(both) < 0.02


def test_stops_are_the_distance_of_the_exposures():
    """Far from clipping and noise, the linear images differ by the factor asked for."""
    over, under, radiance = DemoExposurePairs(length=1, size=SIZE, stops=(2, 2), night_ratio=0).render(0)
    usable = (over.max(2) < 240) & (under.min(2) > 60)
    linear = [np.mean((image[usable] / 255) ** 2.2) for image in (over, under)]
    assert usable.mean() > 0.02 and linear[0] / linear[1] == pytest.approx(4, rel=0.03)
    assert linear[0] == pytest.approx(2 * radiance[usable].mean(), rel=0.03)


def detail(image):
    """Local mean of the absolute Laplacian."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return cv2.blur(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (5, 5))


def test_each_plane_is_in_focus_in_its_image():
    dataset = DemoFocusPairs(length=12, size=SIZE, night_ratio=0)
    shares = []
    for index in range(12):
        far, near, sharp, mask = dataset.render(index)
        shares.append(mask.mean())
        inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
        outside = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) == 0
        if inside.sum() > 100:
            assert detail(near)[inside].mean() > 1.5 * detail(far)[inside].mean()
            assert np.abs(near[inside].astype(int) - sharp[inside]).mean() < 3
        assert detail(far)[outside].mean() > 1.1 * detail(near)[outside].mean()
        assert np.abs(far[outside].astype(int) - sharp[outside]).mean() < 3
    assert 0.08 < np.mean(shares) < 0.5


def test_a_plane_out_of_focus_spreads_over_the_other():
    """Just outside its mask the blurred near plane shows in the image focused on the far plane."""
    dataset, spread = DemoFocusPairs(length=8, size=SIZE, night_ratio=0, blur=(0.05, 0.05)), []
    for index in range(8):
        far, _, sharp, mask = dataset.render(index)
        rim = (cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) > 0) & ~mask
        spread.append(np.abs(far[rim].astype(int) - sharp[rim]).mean())
    assert np.mean(spread) > 8  # noise alone gives about 2


@BOTH
@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(split='all'), 'split'),
        (dict(length=0), 'length'),
        (dict(size=(32, 160)), 'size'),
        (dict(night_ratio=2), 'night_ratio'),
        (dict(seed=-1), 'seed'),
    ],
)
def test_bad_arguments(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(**kwargs)


def test_bad_spreads():
    with pytest.raises(ValueError, match='stops must be 0.5'):
        DemoExposurePairs(stops=(4, 2))
    with pytest.raises(ValueError, match='blur must be 0.005'):
        DemoFocusPairs(blur=(0.1, 0.5))


def test_base_config(repo_dir):
    config = Config.fromfile(repo_dir / 'configs' / '_base_' / 'datasets' / 'demo_three_tasks.py')
    train, test = (Runner.build_dataloader(config[key], seed=0) for key in ('train_dataloader', 'test_dataloader'))
    batches = [data for _, data in zip(range(6), train)]
    names = ['visible_infrared', 'multi_exposure', 'multi_focus']
    assert [{sample.fusion_task for sample in data['data_samples']} for data in batches] == [
        {name} for name in names
    ] * 2
    assert [metric.fusion_task for metric in config.test_evaluator] == names == list(test.dataset.ranges())
    assert {tuple(image.shape[1:]) for data in batches for images in data['inputs'].values() for image in images} == {
        (112, 112)
    }
