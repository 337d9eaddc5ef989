"""LLVIP, M3FD, MSRS and plain folders: official layouts, checks on load, counted skips, real pairs."""

import logging
from collections import Counter

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmfusion.datasets import LLVIPDataset, M3FDDataset, MSRSDetDataset, PairFolderDataset
from mmfusion.fileio.errors import PairDataError
from mmfusion.utils.errors import user_message

HEIGHT, WIDTH = 48, 64


def image(path, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(size, 100, np.uint8))


def voc(path, *objects, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    body = ''.join(
        f'<object><name>{name}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>'
        for name, b in objects
    )
    path.write_text(f'<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>{body}</annotation>')


@pytest.fixture
def m3fd(tmp_path):
    """Three good pairs."""
    root = tmp_path / 'M3FD'
    for name, objects in (
        ('00000', [('Car', (1, 2, 30, 40)), ('People', (5, 5, 10, 20))]),
        ('00001', []),
        ('00002', [('Truck', (0, 0, 64, 48))]),
    ):
        image(root / 'Vis' / f'{name}.png')
        image(root / 'Ir' / f'{name}.png')
        voc(root / 'Annotation' / f'{name}.xml', *objects)
    return root


def test_m3fd_items(m3fd):
    dataset = M3FDDataset(data_root=str(m3fd))
    item = dataset.get_data_info(0)
    assert item['instances'] == [
        dict(bbox=[1.0, 2.0, 30.0, 40.0], bbox_label=1, ignore_flag=0),
        dict(bbox=[5.0, 5.0, 10.0, 20.0], bbox_label=0, ignore_flag=0),
    ]
    assert (item['height'], item['width'], item['img_id'], item['sample_id']) == (HEIGHT, WIDTH, 0, '00000')
    assert item['first_path'].endswith('Vis/00000.png') and item['second_path'].endswith('Ir/00000.png')
    assert len(dataset) == 3 and dataset.get_cat_ids(2) == [5]


def test_classes_go_by_name(m3fd):
    dataset = M3FDDataset(data_root=str(m3fd), metainfo=dict(classes=('Truck', 'People')))
    assert [dataset.get_cat_ids(index) for index in range(3)] == [[1], [], [0]]  # Car is left out
    with pytest.raises(ValueError, match="unknown classes \\['Bicycle'\\]"):
        M3FDDataset(data_root=str(m3fd), metainfo=dict(classes=('Bicycle',)))


def test_id_list_and_split_hash(m3fd, monkeypatch):
    (m3fd / 'a.txt').write_text('00002\n00000.png\n')
    (m3fd / 'b.txt').write_text('# comment\n00000\n00002\n')
    first, second, whole = (M3FDDataset(data_root=str(m3fd), ann_file=name) for name in ('a.txt', 'b.txt', ''))
    assert [first.get_data_info(index)['sample_id'] for index in range(2)] == ['00002', '00000']
    assert first.metainfo['split_hash'] == second.metainfo['split_hash'] != whole.metainfo['split_hash']
    assert len(first.metainfo['split_hash']) == 64
    lines = []
    monkeypatch.setattr('mmfusion.datasets.base_pair_dataset.print_log', lambda text, logger, level: lines.append(text))
    M3FDDataset(data_root=str(m3fd), ann_file='a.txt')
    assert lines == [f'M3FDDataset: 2 of 2 pairs, 3 boxes, split hash {first.metainfo["split_hash"][:12]}']
    for text, message in (
        ('', 'no names'),
        ('00000\n00000\n', "'00000' more than once"),
        ('00009\n', "'00009' is listed but has no image"),
    ):
        (m3fd / 'bad.txt').write_text(text)
        with pytest.raises(PairDataError, match=message):
            M3FDDataset(data_root=str(m3fd), ann_file='bad.txt')
    with pytest.raises(FileNotFoundError, match='mmfusion split-m3fd'):
        M3FDDataset(data_root=str(m3fd), ann_file='gone.txt')


def test_folder_names_in_other_spellings(m3fd):
    (m3fd / 'Vis').rename(m3fd / 'vis')
    (m3fd / 'Annotation').rename(m3fd / 'annotations')
    assert len(M3FDDataset(data_root=str(m3fd))) == 3
    renamed = m3fd / 'somewhere'
    (m3fd / 'vis').rename(renamed)
    with pytest.raises(FileNotFoundError, match='Expected layout'):
        M3FDDataset(data_root=str(m3fd))
    assert len(M3FDDataset(data_root=str(m3fd), data_prefix=dict(first='somewhere'))) == 3


BREAKERS = {
    'missing partner': lambda root: (root / 'Ir' / '00001.png').unlink(),
    'size mismatch': lambda root: image(root / 'Ir' / '00001.png', (HEIGHT, WIDTH + 1)),
    'size mismatch ': lambda root: voc(root / 'Annotation' / '00001.xml', size=(HEIGHT * 2, WIDTH)),
    'missing annotation': lambda root: (root / 'Annotation' / '00001.xml').unlink(),
    'empty annotation': lambda root: (root / 'Annotation' / '00001.xml').write_text(''),
    'malformed annotation': lambda root: (root / 'Annotation' / '00001.xml').write_text('<annotation>'),
    'unreadable image': lambda root: (root / 'Vis' / '00001.png').write_bytes(b'no image'),
    'unknown class': lambda root: voc(root / 'Annotation' / '00001.xml', ('Car', (1, 1, 9, 9)), ('car', (1, 1, 9, 9))),
    'box outside the image': lambda root: voc(
        root / 'Annotation' / '00001.xml', ('Car', (1, 1, 9, 9)), ('Car', (50, 1, 90, 9))
    ),
    'degenerate box': lambda root: voc(root / 'Annotation' / '00001.xml', ('Car', (1, 1, 9, 9)), ('Car', (5, 5, 5, 9))),
}


@pytest.mark.parametrize('reason', list(BREAKERS))
def test_bad_pairs_raise_or_are_skipped(m3fd, reason, monkeypatch):
    BREAKERS[reason](m3fd)
    reason = reason.strip()
    with pytest.raises(PairDataError, match='M3FDDataset: .*00001') as info:
        M3FDDataset(data_root=str(m3fd))
    assert info.value.reason == reason and str(info.value).count('M3FDDataset: ') == 1
    lines = []
    monkeypatch.setattr(
        'mmfusion.datasets.base_pair_dataset.print_log', lambda text, logger, level: lines.append((text, level))
    )
    dataset = M3FDDataset(data_root=str(m3fd), on_error='skip')
    names = [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]
    box_level = reason in ('unknown class', 'box outside the image', 'degenerate box')
    assert names == (['00000', '00001', '00002'] if box_level else ['00000', '00002'])
    assert [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))] == list(range(len(dataset)))
    if box_level:
        assert len(dataset.get_data_info(1)['instances']) == 1
    assert dataset.problems[reason] == 1
    assert f'1 x {reason}' in lines[0][0] and lines[0][1] == logging.WARNING and '00001' in lines[1][0]


def test_clip_boxes_counts(m3fd):
    BREAKERS['box outside the image'](m3fd)
    dataset = M3FDDataset(data_root=str(m3fd), clip_boxes=True)
    assert dataset.get_data_info(1)['instances'][1]['bbox'] == [50, 1, 64, 9] and dataset.problems['clipped box'] == 1
    assert M3FDDataset(data_root=str(m3fd), box_tolerance=30).problems['clipped box'] == 0


def test_nothing_left_is_an_error(m3fd):
    for path in (m3fd / 'Ir').iterdir():
        path.unlink()
    with pytest.raises(PairDataError, match='no usable pair .*3 x missing partner'):
        M3FDDataset(data_root=str(m3fd), on_error='skip')


def test_ambiguous_partner(m3fd):
    image(m3fd / 'Ir' / '00001.bmp')
    with pytest.raises(PairDataError, match=r'00001\.bmp.*00001\.png have the same name'):
        M3FDDataset(data_root=str(m3fd))


@pytest.mark.parametrize('build', [LLVIPDataset, M3FDDataset, MSRSDetDataset])
def test_missing_root_shows_the_layout(build, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'(?s)data root .*nowhere.* does not exist.*Expected layout.*data_preparation\.md'
    ):
        build(data_root=str(tmp_path / 'nowhere'))


def test_filter_cfg(m3fd):
    def count(**kwargs):
        return len(M3FDDataset(data_root=str(m3fd), **kwargs))

    assert count(filter_cfg=dict(filter_empty_gt=True)) == 2
    assert count(filter_cfg=dict(filter_empty_gt=True), test_mode=True) == 3
    with pytest.raises(PairDataError, match='leaves no pair'):
        count(filter_cfg=dict(min_size=49))
    with pytest.raises(ValueError, match='filter_emty'):
        count(filter_cfg=dict(filter_emty=True))
    with pytest.raises(ValueError, match='on_error'):
        count(on_error='ignore')


def test_unreadable_while_training_is_replaced_only_with_skip(m3fd):
    data = (m3fd / 'Vis' / '00001.png').read_bytes()
    (m3fd / 'Vis' / '00001.png').write_bytes(
        data[:-20]
    )  # the header is whole, so loading the annotations finds nothing wrong
    pipeline = [dict(type='LoadPair')]
    with pytest.raises(PairDataError, match=r'00001\.png is truncated'):
        M3FDDataset(data_root=str(m3fd), pipeline=pipeline)[1]
    with pytest.raises(PairDataError, match='truncated'):
        M3FDDataset(data_root=str(m3fd), pipeline=pipeline, on_error='skip', test_mode=True)[1]
    dataset = M3FDDataset(data_root=str(m3fd), pipeline=pipeline, on_error='skip')
    assert dataset[1]['sample_id'] in ('00000', '00002') and dataset.problems['truncated image'] >= 1


@pytest.fixture
def msrs(tmp_path):
    root = tmp_path / 'MSRS'
    for name, label in (('a', '2 0.5 0.5 0.5 0.5\n'), ('b', '')):
        image(root / 'train' / 'vi' / f'{name}.png')
        image(root / 'train' / 'ir' / f'{name}.png')
        image(root / 'train' / 'Segmentation_labels' / f'{name}.png')
        (root / 'train' / 'labels').mkdir(exist_ok=True)
        (root / 'train' / 'labels' / f'{name}.txt').write_text(label)
    (root / 'classes.txt').write_text('0 car\n1 bicycle\n2 person\n')
    return root


def test_msrs(msrs):
    dataset = MSRSDetDataset(data_root=str(msrs))
    assert dataset.get_data_info(0)['instances'] == [
        dict(bbox=[16.0, 12.0, 48.0, 36.0], bbox_label=0, ignore_flag=0)
    ]  # by name: number 2 is person
    assert dataset.get_data_info(0)['seg_map_path'].endswith('Segmentation_labels/a.png')
    assert dataset.get_data_info(1)['instances'] == []
    assert (
        MSRSDetDataset(data_root=str(msrs), check_files=False).get_data_info(0)['instances']
        == dataset.get_data_info(0)['instances']
    )
    with pytest.raises(PairDataError, match=r'b\.txt is empty'):
        MSRSDetDataset(data_root=str(msrs), empty_annotation='error')
    with pytest.raises(FileNotFoundError, match='seg_dir'):
        MSRSDetDataset(data_root=str(msrs), seg_dir='gone')
    (msrs / 'train' / 'labels' / 'b.txt').write_text('5 0.5 0.5 0.5 0.5')
    with pytest.raises(PairDataError, match=r"b\.txt: class 'number 5' is unknown"):
        MSRSDetDataset(data_root=str(msrs))
    (msrs / 'train' / 'Segmentation_labels' / 'a.png').unlink()
    with pytest.raises(PairDataError, match='no class map'):
        MSRSDetDataset(data_root=str(msrs))
    (msrs / 'classes.txt').unlink()
    with pytest.raises(FileNotFoundError, match='classes.txt'):
        MSRSDetDataset(data_root=str(msrs))


def test_pair_folder(tmp_path):
    image(tmp_path / 'far' / 's1.png')
    image(tmp_path / 'near' / 's1.bmp')
    dataset = PairFolderDataset(
        data_root=str(tmp_path), data_prefix=dict(first='far', second='near'), modalities=('far', 'near')
    )
    assert dataset.metainfo['modalities'] == ('far', 'near') and dataset.get_data_info(0)['sample_id'] == 's1'
    assert 'instances' not in dataset.get_data_info(0)
    image(tmp_path / 'both' / 's1_A.png')
    image(tmp_path / 'both' / 's1_B.png')
    dataset = PairFolderDataset(
        data_root=str(tmp_path), data_prefix=dict(first='both', second='both'), suffixes=('_A', '_B')
    )
    assert len(dataset) == 1 and dataset.get_data_info(0)['second_path'].endswith('s1_B.png')
    image(tmp_path / 'far' / 's2.png')
    with pytest.raises(PairDataError, match=r's2\.png has no partner in the folder of the second source \(infrared\)'):
        PairFolderDataset(data_root=str(tmp_path), data_prefix=dict(first='far', second='near'))
    with pytest.raises(FileNotFoundError, match='gone'):
        PairFolderDataset(data_root=str(tmp_path), data_prefix=dict(first='far', second='gone'))
    with pytest.raises(ValueError, match="'second'"):
        PairFolderDataset(data_root=str(tmp_path), data_prefix=dict(first='far'))


@pytest.mark.parametrize(
    'build, kwargs, real, rendered',
    [
        (LLVIPDataset, dict(split='train'), (50, dict(person=222)), (4, dict(person=15))),
        (LLVIPDataset, dict(split='test'), (5, dict(person=10)), (5, dict(person=14))),
        (
            M3FDDataset,
            dict(),
            (10, dict(People=90, Car=47, Lamp=13, Bus=2, Motorcycle=1)),
            (11, dict(People=15, Car=11, Lamp=8)),
        ),
        (
            MSRSDetDataset,
            dict(split='train'),
            (130, dict(person=293, bicycle=47, car=157)),
            (4, dict(person=8, bicycle=4, car=3)),
        ),
        (
            MSRSDetDataset,
            dict(split='test', seg_dir=True),
            (50, dict(person=104, bicycle=17, car=61)),
            (5, dict(person=4, bicycle=4, car=6)),
        ),
    ],
)
def test_pairs_and_boxes_in_the_official_layout(sets_kind, sets_dir, build, kwargs, real, rendered):
    pairs, counts = real if sets_kind == 'real' else rendered
    if 'seg_dir' in kwargs:
        kwargs = dict(kwargs, seg_dir='Segmentation_labels_pseudo' if sets_kind == 'real' else 'Segmentation_labels')
    root = sets_dir / 'data' / build.__name__.replace('DetDataset', '').replace('Dataset', '')
    load = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
    pipeline = [
        load,
        dict(type='mmdet.LoadAnnotations', with_bbox=True, with_seg='seg_dir' in kwargs),
        dict(type='PackFusionInputs'),
    ]
    dataset = build(data_root=str(root), pipeline=pipeline, **kwargs)
    assert len(dataset) == pairs
    assert (
        Counter(dataset.metainfo['classes'][label] for index in range(pairs) for label in dataset.get_cat_ids(index))
        == counts
    )
    packed = dataset[0]
    sample = packed['data_samples']
    assert packed['inputs']['first'].shape == (3, *sample.ori_shape) and packed['inputs']['second'].shape == (
        1,
        *sample.ori_shape,
    )
    assert len(sample.gt_instances) == len(sample.instances) > 0
    assert ('gt_sem_seg' in sample) == ('seg_dir' in kwargs)


@pytest.mark.parametrize(
    'names, prefix, kwargs, numbers',
    [
        (dict(real='RoadScene', rendered='RoadScene'), dict(first='vi', second='ir'), {}, dict(real=56, rendered=5)),
        (
            dict(real='FMB', rendered='FMB/train'),
            dict(first='Visible', second='Infrared'),
            {},
            dict(real=5, rendered=4),
        ),
        (
            dict(real='Harvard/MRI_PET', rendered='Harvard/MRI_PET'),
            dict(first='MRI', second='PET'),
            dict(modalities=('MRI', 'PET')),
            dict(real=6, rendered=6),
        ),
        (
            dict(real='MFIFB/input/lytro_01', rendered='MFIFB/input/scene01'),
            dict(first='.', second='.'),
            dict(suffixes=('_A', '_B'), modalities=('far', 'near')),
            dict(real=1, rendered=1),
        ),
    ],
)
def test_two_folders_of_images(sets_kind, sets_dir, names, prefix, kwargs, numbers):
    name, pairs = names[sets_kind], numbers[sets_kind]
    pipeline = [dict(type='LoadPair'), dict(type='PackFusionInputs')]
    dataset = PairFolderDataset(
        data_root=str(sets_dir / 'data' / name), data_prefix=prefix, pipeline=pipeline, test_mode=True, **kwargs
    )
    assert len(dataset) == pairs
    inputs = dataset[0]['inputs']
    assert inputs['first'].shape[1:] == inputs['second'].shape[1:]


def test_an_error_in_a_worker_keeps_its_message(m3fd):
    (m3fd / 'Vis' / '00001.png').write_bytes((m3fd / 'Vis' / '00001.png').read_bytes()[:-20])
    loader = DataLoader(
        M3FDDataset(data_root=str(m3fd), pipeline=[dict(type='LoadPair')]), num_workers=1, collate_fn=list
    )
    with pytest.raises(PairDataError, match=r'00001\.png is truncated') as info:
        list(loader)
    assert user_message(info.value).endswith('00001.png is truncated; copy or download it again')
