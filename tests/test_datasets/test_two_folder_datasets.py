"""SCIE, Real-MFF, MFI-WHU and Lytro: layouts in their spellings, order of the sources, errors, and the config that
trains on three tasks.
"""

import math
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmfusion.datasets import LytroDataset, MFIWHUDataset, RealMFFDataset, SCIEDataset
from mmfusion.fileio.errors import PairDataError
from mmfusion.registry import DATASETS

PIPELINE = [dict(type='LoadPair', color_type='auto'), dict(type='PackFusionInputs')]
# class, files of the first and of the second source by sample, modalities
LAYOUTS = {
    'scie': (SCIEDataset, {'7': ('oe/7.JPG', 'ue/7.png'), '12': ('oe/12.jpg', 'ue/12.jpg')}, ('over', 'under')),
    'scie_other_names': (
        SCIEDataset,
        {'7': ('Over/7.JPG', 'under/7.png'), '12': ('Over/12.jpg', 'under/12.jpg')},
        ('over', 'under'),
    ),
    'real_mff': (
        RealMFFDataset,
        {'001': ('imageB/001_B.png', 'imageA/001_A.png'), '710': ('imageB/710_B.png', 'imageA/710_A.png')},
        ('far', 'near'),
    ),
    'mfi_whu': (
        MFIWHUDataset,
        {'1': ('source_2/1.jpg', 'source_1/1.jpg'), '120': ('source_2/120.jpg', 'source_1/120.jpg')},
        ('far', 'near'),
    ),
    'lytro': (
        LytroDataset,
        {'lytro-01': ('lytro-01-B.jpg', 'lytro-01-A.jpg'), 'lytro-20': ('lytro-20-B.jpg', 'lytro-20-A.jpg')},
        ('far', 'near'),
    ),
    'lytro_folders': (
        LytroDataset,
        {
            'lytro-01': ('sourceB/lytro-01-B.jpg', 'sourceA/lytro-01-A.jpg'),
            'lytro-20': ('sourceB/lytro-20-B.jpg', 'sourceA/lytro-20-A.jpg'),
        },
        ('far', 'near'),
    ),
}


def write(path, value, size=(20, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*size, 3), value, np.uint8)
    image[..., 0] = 10
    assert cv2.imwrite(str(path), image)


@pytest.fixture(params=LAYOUTS, ids=str)
def layout(request, tmp_path):
    cls, files, modalities = LAYOUTS[request.param]
    for first, second in files.values():
        write(tmp_path / first, 200)
        write(tmp_path / second, 50)
    return cls, tmp_path, files, modalities


def names(dataset):
    return [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]


def test_sources_in_order(layout):
    cls, root, files, modalities = layout
    dataset = cls(data_root=str(root), pipeline=PIPELINE)
    assert (
        names(dataset) == sorted(files)
        and dataset.metainfo['modalities'] == modalities
        and len(dataset.metainfo['split_hash']) == 64
    )
    for sample in dataset:
        assert sample['inputs']['first'][0].float().mean() > 190 and sample['inputs']['second'][0].float().mean() < 60
    (root / 'ids.txt').write_text(f'{max(files)}\n')
    assert names(cls(data_root=str(root), ann_file='ids.txt')) == [max(files)]


def test_bad_pairs(layout):
    cls, root, files, modalities = layout
    first, second = files[min(files)]
    write(root / second, 50, (30, 24))
    with pytest.raises(PairDataError, match='24x30'):
        cls(data_root=str(root))
    (root / second).unlink()
    with pytest.raises(PairDataError, match=f'second source \\({modalities[1]}\\)'):
        cls(data_root=str(root))
    assert names(cls(data_root=str(root), on_error='skip')) == [max(files)]
    write((root / first).with_suffix('.bmp'), 50)
    with pytest.raises(PairDataError, match='same name'):
        cls(data_root=str(root))


def test_missing_folders_show_the_layout(layout):
    cls, root, files, _ = layout
    for file in (file for pair in files.values() for file in pair):
        (root / file).unlink()
    with pytest.raises(PairDataError, match='no image with a name in (.|\n)*Expected layout'):
        cls(data_root=str(root))
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError, match='does not exist(.|\n)*Expected layout(.|\n)*data_preparation.md'):
        cls(data_root=str(root))


@pytest.fixture
def three_tasks(repo_dir, sets_dir, tmp_path, monkeypatch):
    """The config, with pairs of the benchmarks under the names of the training sets."""
    data = sets_dir / 'data'
    (tmp_path / 'data').mkdir()
    for name in ('LLVIP', 'MEFB', 'MFIFB'):
        (tmp_path / 'data' / name).symlink_to(data / name)
    for number, scene in enumerate(sorted((data / 'MFIFB' / 'input').iterdir())[:6]):
        near, far = (next(path for path in scene.iterdir() if path.stem.endswith(end)) for end in ('_A', '_B'))
        aliases = (
            ('MFI-WHU/source_1/{}', 'MFI-WHU/source_2/{}')
            if number % 2
            else ('RealMFF/imageA/{}_A', 'RealMFF/imageB/{}_B')
        )
        for path, alias in zip((near, far), aliases):
            link = tmp_path / 'data' / (alias.format(number) + path.suffix)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    for number, scene in enumerate(sorted((data / 'MEFB' / 'input').iterdir())[:4]):
        for path in scene.iterdir():
            link = (
                tmp_path
                / 'data'
                / 'SCIE'
                / ('ue' if path.stem.lower().endswith('_a') else 'oe')
                / f'{number}{path.suffix}'
            )
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return Config.fromfile(repo_dir / 'configs' / '_base_' / 'datasets' / 'three_tasks.py')


def test_three_tasks(three_tasks, sets_kind):
    pairs = dict(real=50, rendered=4)[sets_kind]
    three_tasks.train_dataloader.update(num_workers=0, persistent_workers=False)
    train, test = (
        Runner.build_dataloader(dict(three_tasks[key], num_workers=0), seed=0)
        for key in ('train_dataloader', 'test_dataloader')
    )
    assert {name: len(indices) for name, indices in train.dataset.ranges().items()} == dict(
        visible_infrared=pairs, multi_exposure=4, multi_focus=6
    )
    assert len(train) == 3 * math.ceil(pairs / 3)  # one pass over the infrared-visible pairs in batches of 3
    for _, data in zip(range(3), train):
        assert len({sample.fusion_task for sample in data['data_samples']}) == 1 and len(data['data_samples']) == 3
        assert {tuple(image.shape[1:]) for images in data['inputs'].values() for image in images} == {(448, 448)}
        if data['data_samples'][0].fusion_task == 'multi_exposure':
            over, under = (
                np.mean([image.float().mean() for image in data['inputs'][key]]) for key in ('first', 'second')
            )
            assert over > under + 20
    assert list(test.dataset.ranges()) == [metric.fusion_task for metric in three_tasks.test_evaluator]
    sample = test.dataset[test.dataset.ranges()['multi_focus'].start]
    assert (
        sample['data_samples'].fusion_task == 'multi_focus'
        and sample['inputs']['first'].shape[1:] == sample['data_samples'].ori_shape
    )


@pytest.mark.parametrize(
    'name, folder',
    [('scie', 'SCIE'), ('real_mff', 'RealMFF'), ('mfi_whu', 'MFI-WHU'), ('lytro', 'RealMFF'), ('three_tasks', 'LLVIP')],
)
def test_missing_data_is_one_clear_error(name, folder, repo_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config.fromfile(repo_dir / 'configs' / '_base_' / 'datasets' / f'{name}.py')
    with pytest.raises(FileNotFoundError, match=f'{folder}(.|\n)*Expected layout'):
        DATASETS.build(config.train_dataloader.dataset)
    with pytest.raises(FileNotFoundError, match='Expected layout'):
        DATASETS.build(config.test_dataloader.dataset)
