"""Class maps: loading, and the way through resize, flip, crop, padding and packing, against slices of the array
itself.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from mmfusion.fileio.errors import PairDataError
from mmfusion.registry import MODELS, TRANSFORMS

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def numbers():
    return np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH), dtype=np.uint8)


def sample(numbers, **extra):
    """Images whose gray value is the class number, so that image and class map can be compared after every
    transform.
    """
    first = np.repeat(numbers[..., None], 3, axis=2) * 20
    return dict(
        first=first,
        second=first[..., :1].copy(),
        gt_seg_map=numbers.copy(),
        seg_fields=[],
        sample_id='a',
        img_id=0,
        **extra,
    )


def run(results, *transforms):
    for transform in (dict(type='LoadPair'), dict(type='LoadClassMap'), *transforms, dict(type='PackFusionInputs')):
        results = TRANSFORMS.build(transform)(results)
    return results


def paired(**transform):
    return dict(type='Paired', transform=transform, expand_grey=False)


def load(path, shape=(HEIGHT, WIDTH), **extra):
    return TRANSFORMS.build(dict(type='LoadClassMap'))(dict(seg_map_path=str(path), ori_shape=shape, **extra))[
        'gt_seg_map'
    ]


def test_files_of_all_kinds(tmp_path, numbers):
    grey = Image.fromarray(numbers)
    palette = Image.fromarray(numbers, 'P')
    palette.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
    three = Image.fromarray(np.repeat(numbers[..., None], 3, axis=2))
    deep = Image.fromarray(numbers.astype(np.uint16))
    for index, image in enumerate((grey, palette, three, deep)):
        image.save(tmp_path / f'{index}.png')
        found = load(tmp_path / f'{index}.png')
        np.testing.assert_array_equal(found, numbers)
        assert found.dtype == np.uint8


def test_bad_files(tmp_path, numbers):
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / 'colour.png')
    Image.fromarray(numbers).save(tmp_path / 'a.png')
    Image.fromarray(np.full((HEIGHT, WIDTH), 300, np.uint16)).save(tmp_path / 'deep.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'a.png').read_bytes()[:-30])
    for name, message in (
        ('colour', 'is a color picture'),
        ('gone', 'does not exist'),
        ('cut', 'is truncated'),
        ('deep', 'holds the number 300'),
    ):
        with pytest.raises(PairDataError, match=rf'{name}\.png.*{message}'):
            load(tmp_path / f'{name}.png')
    with pytest.raises(PairDataError, match=r'a\.png holds the class numbers \[7, 8\]; known are 0\.\.\.6'):
        load(tmp_path / 'a.png', label_map={number: number for number in range(7)})
    with pytest.raises(PairDataError, match=r'a\.png has 60x40 pixels, its images have 40x60'):
        load(tmp_path / 'a.png', (WIDTH, HEIGHT))
    with pytest.raises(PairDataError, match='sample b has no class map'):
        TRANSFORMS.build(dict(type='LoadClassMap'))(dict(sample_id='b', ori_shape=(4, 4)))
    with pytest.raises(KeyError, match='LoadPair first'):
        TRANSFORMS.build(dict(type='LoadClassMap'))(dict(seg_map_path=str(tmp_path / 'a.png')))


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_resize_takes_the_nearest_number(numbers, scope):
    packed = run(sample(numbers), paired(type=f'{scope}.Resize', scale=(WIDTH // 2, HEIGHT // 2), keep_ratio=False))
    found = packed['data_samples'].gt_sem_seg.data[0].numpy()
    assert found.shape == (HEIGHT // 2, WIDTH // 2) and packed['data_samples'].ori_shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(found, numbers[::2, ::2])  # no number in between
    assert packed['inputs']['first'].shape[1:] == packed['inputs']['second'].shape[1:] == found.shape


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_flip(numbers, direction):
    packed = run(sample(numbers), paired(type='mmdet.RandomFlip', prob=1.0, direction=direction))
    found = packed['data_samples'].gt_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(found, numbers[:, ::-1] if direction == 'horizontal' else numbers[::-1])
    np.testing.assert_array_equal(found * 20, packed['inputs']['second'][0].numpy())


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='mmdet.RandomCrop', crop_size=(32, 24), allow_negative_crop=True),
        dict(type='mmseg.RandomCrop', crop_size=(24, 32), cat_max_ratio=0.75),
    ],
)
def test_crop_cuts_images_and_class_map_alike(numbers, transform):
    boxes = dict(
        gt_bboxes=np.zeros((0, 4), np.float32),
        gt_bboxes_labels=np.zeros(0, np.int64),
        gt_ignore_flags=np.zeros(0, bool),
    )
    extra = boxes if transform['type'].startswith('mmdet') else {}
    if extra:
        from mmdet.structures.bbox import HorizontalBoxes

        extra['gt_bboxes'] = HorizontalBoxes(extra['gt_bboxes'])
    corners = set()
    for _ in range(5):
        packed = run(sample(numbers, **extra), paired(**transform))
        found = packed['data_samples'].gt_sem_seg.data[0].numpy()
        assert found.shape == (24, 32)
        for source in ('first', 'second'):
            np.testing.assert_array_equal(found * 20, packed['inputs'][source][0].numpy())
        corners.add(found.tobytes())
    assert len(corners) > 1


def test_pad_and_rotation_fill_with_255(numbers):
    packed = run(sample(numbers), paired(type='mmdet.Pad', size=(64, 48), pad_val=dict(img=0, seg=255)))
    found = packed['data_samples'].gt_sem_seg.data[0].numpy()
    assert found.shape[0] == 48 and found.shape[1] == 64
    np.testing.assert_array_equal(found[:HEIGHT, :WIDTH], numbers)
    assert (found[HEIGHT:] == 255).all() and (found[:, WIDTH:] == 255).all()


def batch(*sizes):
    data = dict(inputs=dict(first=[], second=[]), data_samples=[])
    for index, (height, width) in enumerate(sizes):
        numbers = np.random.default_rng(index).integers(0, 9, (height, width), dtype=np.uint8)
        packed = run(sample(numbers))
        for source in ('first', 'second'):
            data['inputs'][source].append(packed['inputs'][source])
        data['data_samples'].append(packed['data_samples'])
    return data


def test_preprocessor_pads_with_255_in_training_only():
    preprocessor = MODELS.build(dict(type='FusionDataPreprocessor', pad_size_divisor=16))
    for training in (True, False):
        data = batch((40, 60), (30, 44))
        before = [each.gt_sem_seg.data.clone() for each in data['data_samples']]
        out = preprocessor(data, training)
        for old, each, (height, width) in zip(before, out['data_samples'], ((40, 60), (30, 44))):
            new = each.gt_sem_seg.data
            assert new.shape[-2:] == ((48, 64) if training else (height, width))
            assert (
                torch.equal(new[:, :height, :width], old)
                and bool((new[:, height:] == 255).all())
                and bool((new[:, :, width:] == 255).all())
            )


def test_class_map_that_missed_the_resize(numbers):
    """In a training pipeline, loaded after the resize: an error that names the sample, not labels cut off in
    silence.
    """
    results = sample(numbers)
    for transform in (dict(type='LoadPair'), paired(type='mmcv.Resize', scale=(30, 20)), dict(type='LoadClassMap')):
        if transform['type'] == 'LoadClassMap':
            results['gt_seg_map'] = numbers
        results = TRANSFORMS.build(transform)(results)
    packed = TRANSFORMS.build(dict(type='PackFusionInputs'))(results)
    data = dict(inputs={key: [value] for key, value in packed['inputs'].items()}, data_samples=[packed['data_samples']])
    with pytest.raises(ValueError, match=r'class map of sample a is \(40, 60\), its images are \(20, 30\)'):
        MODELS.build(dict(type='FusionDataPreprocessor'))(data, True)
