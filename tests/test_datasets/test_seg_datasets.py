"""MSRS, FMB and MFNet with class maps: official layouts, classes by name, what is ignored, bad files, real pairs."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfusion.datasets import FMBDataset, MFNetDataset, MSRSDetDataset, MSRSSegDataset, SegPairDataset
from mmfusion.fileio.errors import PairDataError

HEIGHT, WIDTH = 20, 24
PIPELINE = [dict(type='LoadPair'), dict(type='LoadClassMap'), dict(type='PackFusionInputs')]


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def class_map(*numbers):
    """Columns of the given numbers, equally wide, with the last one in the rest."""
    columns = np.minimum(np.arange(WIDTH) * len(numbers) // WIDTH, len(numbers) - 1)
    return np.tile(np.array(numbers, np.uint8)[columns], (HEIGHT, 1))


def pairs(root, first, second, seg, names, numbers=(0, 1, 8, 255)):
    rng = np.random.default_rng(0)
    for name in names:
        write(root / first / f'{name}.png', rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        write(root / second / f'{name}.png', rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8))
        write(root / seg / f'{name}.png', class_map(*numbers))
    return root


@pytest.fixture
def msrs(tmp_path):
    return pairs(tmp_path / 'MSRS', 'train/vi', 'train/ir', 'train/Segmentation_labels', ['00001D', '00002N', '00003D'])


@pytest.fixture
def fmb(tmp_path):
    return pairs(tmp_path / 'FMB', 'test/Visible', 'test/Infrared', 'test/Label', ['00001', '00002'], (0, 5, 14))


@pytest.fixture
def mfnet(tmp_path):
    root, rng = tmp_path / 'MFNet', np.random.default_rng(1)
    for name in ('00001D', '00002N', '00003D'):
        write(root / 'images' / f'{name}.png', rng.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8))
        write(root / 'labels' / f'{name}.png', class_map(0, 3, 8))
    (root / 'train.txt').write_text('00001D\n00003D\n')
    (root / 'test.txt').write_text('00002N\n')
    return root


def labels(dataset, index=0):
    return dataset[index]['data_samples'].gt_sem_seg.data[0].numpy()


def test_msrs_items_and_labels(msrs):
    dataset = MSRSSegDataset(data_root=str(msrs), pipeline=PIPELINE)
    assert len(dataset) == 3 and dataset.get_data_info(1)['seg_map_path'].endswith('Segmentation_labels/00002N.png')
    assert (
        len(dataset.metainfo['seg_classes']) == len(dataset.metainfo['seg_palette']) == 9
        and dataset.metainfo['classes'] == ()
    )
    np.testing.assert_array_equal(labels(dataset), class_map(0, 1, 8, 255))


def test_fmb_is_found_and_has_fifteen_classes(fmb):
    dataset = FMBDataset(data_root=str(fmb), split='test', pipeline=PIPELINE)
    meta = dataset.metainfo
    assert len(dataset) == 2 and len(meta['seg_classes']) == len(meta['seg_palette']) == 15
    assert meta['seg_classes'][8] == 'person' and meta['seg_classes'][14] == 'pole'
    np.testing.assert_array_equal(labels(dataset), class_map(0, 5, 14))


def test_background_left_out(msrs, fmb):
    """One class less, the others move down by one, the background and 255 become 255."""
    dataset = MSRSSegDataset(data_root=str(msrs), pipeline=PIPELINE, ignore_background=True)
    assert dataset.metainfo['seg_classes'] == MSRSSegDataset.METAINFO['seg_classes'][1:]
    assert dataset.metainfo['seg_palette'] == MSRSSegDataset.METAINFO['seg_palette'][1:]
    np.testing.assert_array_equal(labels(dataset), class_map(255, 0, 7, 255))
    assert len(FMBDataset(data_root=str(fmb), split='test', ignore_background=True).metainfo['seg_classes']) == 14
    assert len(MSRSSegDataset.METAINFO['seg_classes']) == 9


def test_classes_go_by_name(msrs):
    dataset = MSRSSegDataset(data_root=str(msrs), pipeline=PIPELINE, metainfo=dict(seg_classes=('bump', 'unlabelled')))
    np.testing.assert_array_equal(labels(dataset), class_map(1, 255, 0, 255))
    assert dataset.metainfo['seg_palette'] == [(192, 64, 0), (0, 0, 0)]
    with pytest.raises(ValueError, match="unknown segmentation classes \\['tree'\\]"):
        MSRSSegDataset(data_root=str(msrs), metainfo=dict(seg_classes=('tree',)))
    with pytest.raises(ValueError, match='not with both'):
        MSRSSegDataset(data_root=str(msrs), metainfo=dict(seg_classes=('bump',)), ignore_background=True)


def test_mfnet_takes_the_channels_apart(mfnet):
    dataset = MFNetDataset(data_root=str(mfnet), split='train', pipeline=PIPELINE)
    assert [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))] == ['00001D', '00003D']
    stored = np.array(Image.open(mfnet / 'images' / '00001D.png'))
    inputs = dataset[0]['inputs']
    np.testing.assert_array_equal(inputs['first'].numpy(), stored[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(inputs['second'].numpy(), stored[..., 3:].transpose(2, 0, 1))
    np.testing.assert_array_equal(labels(dataset), class_map(0, 3, 8))
    assert (
        len(MFNetDataset(data_root=str(mfnet), split='test')) == 1
        and len(MFNetDataset(data_root=str(mfnet), ann_file='')) == 3
    )
    with pytest.raises(FileNotFoundError, match=r'(?s)val\.txt.*Expected layout'):
        MFNetDataset(data_root=str(mfnet), split='val')


def test_mfnet_without_a_thermal_channel(mfnet):
    write(mfnet / 'images' / '00001D.png', np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(PairDataError, match=r'00001D\.png has 3 channels; RGB with the thermal image'):
        MFNetDataset(data_root=str(mfnet), pipeline=PIPELINE)[0]


def test_own_class_maps(msrs):
    prefix = dict(first='train/vi', second='train/ir', seg='train/Segmentation_labels')
    names = tuple(f'class{number}' for number in range(9))
    dataset = SegPairDataset(
        data_root=str(msrs), data_prefix=prefix, metainfo=dict(seg_classes=names), pipeline=PIPELINE
    )
    np.testing.assert_array_equal(labels(dataset), class_map(0, 1, 8, 255))
    small = SegPairDataset(
        data_root=str(msrs), data_prefix=prefix, metainfo=dict(seg_classes=names[:3]), pipeline=PIPELINE
    )
    with pytest.raises(PairDataError, match=r'00001D\.png holds the class numbers \[8\]; known are 0\.\.\.2'):
        small[0]
    without = SegPairDataset(
        data_root=str(msrs), data_prefix=prefix, metainfo=dict(seg_classes=names), ignore_background=True
    )
    assert without.metainfo['seg_classes'] == names[1:]


def test_absent_class_maps(msrs):
    (msrs / 'train' / 'Segmentation_labels' / '00002N.png').unlink()
    with pytest.raises(PairDataError, match=r'MSRSSegDataset: .*00002N\.png has no class map') as caught:
        MSRSSegDataset(data_root=str(msrs))
    assert caught.value.reason == 'missing class map'
    skipping = MSRSSegDataset(data_root=str(msrs), on_error='skip')
    assert len(skipping) == 2 and skipping.problems['missing class map'] == 1
    (msrs / 'train' / 'Segmentation_labels').rename(msrs / 'train' / 'others')
    with pytest.raises(FileNotFoundError, match=r'(?s)no folder .*Segmentation_labels.*Expected layout'):
        MSRSSegDataset(data_root=str(msrs))
    assert len(MSRSSegDataset(data_root=str(msrs), seg_dir='others', on_error='skip')) == 2
    with pytest.raises(FileNotFoundError, match="seg_dir='gone'.*train/gone"):
        MSRSSegDataset(data_root=str(msrs), seg_dir='gone')


def test_class_map_of_another_size(msrs):
    path = msrs / 'train' / 'Segmentation_labels' / '00002N.png'
    write(path, np.zeros((HEIGHT, WIDTH - 1), np.uint8))
    with pytest.raises(PairDataError, match=r'24x20 pixels, its class map .*00002N\.png has 23x20'):
        MSRSSegDataset(data_root=str(msrs))
    with pytest.raises(PairDataError, match=r'00002N\.png has 23x20 pixels, its images have 24x20'):
        MSRSSegDataset(data_root=str(msrs), check_files=False, pipeline=PIPELINE)[1]


def test_number_beyond_the_list(msrs):
    path = msrs / 'train' / 'Segmentation_labels' / '00001D.png'
    write(path, class_map(0, 9, 12))
    with pytest.raises(
        PairDataError, match=r'00001D\.png holds the class numbers \[9, 12\]; known are 0\.\.\.8'
    ) as caught:
        MSRSSegDataset(data_root=str(msrs), pipeline=PIPELINE)[0]
    assert caught.value.reason == 'unknown class number'


def test_boxes_and_class_maps_at_once(msrs):
    (msrs / 'classes.txt').write_text('0 person\n1 bicycle\n2 car\n')
    for name in ('00001D', '00002N', '00003D'):
        (msrs / 'train' / 'labels').mkdir(exist_ok=True)
        (msrs / 'train' / 'labels' / f'{name}.txt').write_text('2 0.5 0.5 0.5 0.5\n')
    pipeline = [PIPELINE[0], dict(type='mmdet.LoadAnnotations', with_bbox=True), *PIPELINE[1:]]
    dataset = MSRSDetDataset(data_root=str(msrs), pipeline=pipeline, ignore_background=True)
    sample = dataset[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [2] and dataset.metainfo['classes'] == ('person', 'bicycle', 'car')
    np.testing.assert_array_equal(labels(dataset), class_map(255, 0, 7, 255))
    (msrs / 'train' / 'Segmentation_labels').rename(msrs / 'train' / 'others')
    without = MSRSDetDataset(data_root=str(msrs), pipeline=pipeline)
    with pytest.raises(PairDataError, match='sample 00001D has no class map'):
        without[0]


@pytest.mark.parametrize(
    ('split', 'counts'), [('train', dict(real=130, rendered=4)), ('test', dict(real=50, rendered=5))]
)
def test_msrs_in_the_official_layout(sets_kind, sets_dir, split, counts):
    count, seg_dir = counts[sets_kind], 'Segmentation_labels_pseudo' if sets_kind == 'real' else 'Segmentation_labels'
    dataset = MSRSSegDataset(data_root=str(sets_dir / 'data' / 'MSRS'), split=split, seg_dir=seg_dir, pipeline=PIPELINE)
    assert len(dataset) == count
    path = dataset.get_data_info(3)['seg_map_path']
    np.testing.assert_array_equal(labels(dataset, 3), cv2.imread(path, cv2.IMREAD_UNCHANGED))
    seen = set().union(
        *(np.unique(labels(dataset, index)).tolist() for index in range(0, count, 10 if count > 10 else 1))
    )
    assert {0, 1, 2} <= seen <= set(range(9))
