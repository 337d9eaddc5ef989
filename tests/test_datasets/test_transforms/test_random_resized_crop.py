"""RandomResizedCrop: the resize against Pillow, the parts drawn, both sources alike, labels."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfusion.datasets.transforms import Paired, RandomResizedCrop
from mmfusion.datasets.transforms.random_resized_crop import resize_bicubic


@pytest.mark.parametrize('size', [(20, 25), (37, 61), (90, 140)])
def test_resize_is_that_of_pillow(size):
    """Pillow's float images know no rounding between its two passes; for uint8 one gray level is left to it."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.random((48, 70, 3), dtype=np.float32), (0, 0), 1.0)
    expected = np.stack(
        [
            np.asarray(Image.fromarray(np.ascontiguousarray(image[..., c])).resize(size[::-1], Image.BICUBIC))
            for c in range(3)
        ],
        -1,
    )
    np.testing.assert_allclose(resize_bicubic(image, size), np.clip(expected, 0, 1), atol=2e-6)
    levels = np.rint(image * 255).astype(np.uint8)
    resized = resize_bicubic(levels, size)
    difference = np.abs(resized.astype(int) - np.asarray(Image.fromarray(levels).resize(size[::-1], Image.BICUBIC)))
    assert resized.dtype == np.uint8 and difference.max() <= 1 and difference.mean() < 0.3


def test_values_stay_in_range():
    edge = np.zeros((16, 16, 1), np.uint8)
    edge[:, 8:] = 255
    assert resize_bicubic(edge, (40, 40)).max() == 255
    bright = resize_bicubic(edge.astype(np.float32) / 255, (40, 40))
    assert bright.shape == (40, 40, 1) and bright.dtype == np.float32 and bright.min() == 0 and bright.max() == 1
    deep = resize_bicubic(edge.astype(np.uint16) * 257, (40, 40))
    assert deep.dtype == np.uint16 and deep.min() == 0 and deep.max() == 65535 and len(np.unique(deep)) > 2


def test_parts_have_the_areas_and_ratios_asked_for():
    crop = RandomResizedCrop(32, scale=(0.2, 0.6))
    parts = np.array([crop.draw(300, 400) for _ in range(2000)])
    top, left, height, width = parts.T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 300).all() and (left + width <= 400).all()
    areas, ratios = height * width / 120000, width / height
    assert 0.197 < areas.min() < 0.21 and 0.59 < areas.max() < 0.605 and abs(areas.mean() - 0.4) < 0.02
    assert 0.74 < ratios.min() < 0.77 and 1.3 < ratios.max() < 1.35 and abs(np.log(ratios).mean()) < 0.02
    assert top.min() < 5 and (top + height).max() > 295  # everywhere in the image


@pytest.mark.parametrize('height, width, expected', [(20, 200, (0, 86, 20, 27)), (200, 20, (86, 0, 27, 20))])
def test_a_central_part_where_nothing_fits(height, width, expected):
    assert RandomResizedCrop(32, scale=(1.0, 1.0)).draw(height, width) == expected


def test_both_sources_and_the_class_map_show_the_same_part():
    rows, columns = np.mgrid[:120, :160].astype(np.float32)
    ramp = (rows * 160 + columns) / (120 * 160)
    transform = Paired(RandomResizedCrop((64, 48), scale=(0.3, 0.9)), expand_grey=False)
    for _ in range(5):
        results = transform(
            dict(
                first=np.repeat(ramp[..., None], 3, 2),
                second=ramp[..., None] / 2,
                gt_seg_map=(rows // 12).astype(np.uint8),
            )
        )
        assert (
            results['first'].shape == (64, 48, 3)
            and results['second'].shape == (64, 48, 1)
            and results['img_shape'] == (64, 48)
        )
        np.testing.assert_allclose(results['first'][..., :1], 2 * results['second'], atol=1e-5)
        seen = np.floor(results['first'][..., 0] * 10).clip(0, 9)  # ten bands of twelve rows, as in the class map
        assert results['gt_seg_map'].shape == (64, 48) and (seen == results['gt_seg_map']).mean() > 0.9
    assert (
        transform(dict(first=np.zeros((30, 30, 3), np.uint8), second=np.zeros((30, 30, 1), np.uint8)))['first'].dtype
        == np.uint8
    )


def test_errors():
    with pytest.raises(ValueError, match='does not move boxes'):
        RandomResizedCrop(32)(dict(img=np.zeros((40, 40, 3), np.uint8), gt_bboxes=np.zeros((1, 4))))
    for options, message in (
        (dict(size=(0, 3)), 'size'),
        (dict(size=8, scale=(0.5, 1.2)), 'scale'),
        (dict(size=8, scale=(0.5, 0.2)), 'scale'),
        (dict(size=8, ratio=(0, 1)), 'ratio'),
    ):
        with pytest.raises(ValueError, match=message):
            RandomResizedCrop(**options)
