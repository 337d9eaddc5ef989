"""Medical, multi-exposure and multi-focus sets, and several sets as tasks: layouts in their spellings, errors,
episodes, real pairs.
"""

import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.runner import Runner

from mmfusion.datasets import FusionTasksDataset, HarvardDataset, MEFBDataset, MFIFBDataset
from mmfusion.datasets.samplers import EpisodeBatchSampler
from mmfusion.fileio.errors import PairDataError
from mmfusion.registry import DATASETS, METRICS, MODELS

PIPELINE = [dict(type='LoadPair', color_type='auto'), dict(type='PackFusionInputs')]


def write(path, value=100, size=(20, 24), channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if channels == 1 else (*size, 3)
    image = np.full(shape, value, np.uint8)
    if channels == 3:
        image[..., 0] = 10
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def harvard(tmp_path):
    root = tmp_path / 'Harvard'
    for number in range(8, 13):  # 8 comes before 10
        write(root / 'MRI_PET' / 'MRI' / f'{number}.png', number)
        write(root / 'MRI_PET' / 'PET' / f'{number}.png', number + 50, channels=3)
    return root


def names(dataset):
    return [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]


def test_harvard_items_and_splits(harvard):
    options = dict(data_root=str(harvard), task='MRI_PET', pipeline=PIPELINE)
    dataset = HarvardDataset(**options)
    assert names(dataset) == ['8', '9', '10', '11', '12'] and dataset.metainfo['modalities'] == ('MRI', 'PET')
    inputs = dataset[0]['inputs']
    assert inputs['first'].shape == (1, 20, 24) and inputs['second'].shape == (3, 20, 24)
    train, test = (HarvardDataset(**options, split=split, test_share=0.4) for split in ('train', 'test'))
    assert (names(train), names(test)) == (['8', '9', '10'], ['11', '12'])
    assert names(HarvardDataset(**options, split='test')) == ['12']
    assert HarvardDataset(**options, metainfo=dict(modalities=('a', 'b'))).metainfo['modalities'] == ('a', 'b')
    (harvard / 'ids.txt').write_text('12\n9\n')
    assert names(HarvardDataset(**options, ann_file='ids.txt')) == ['12', '9']
    (harvard / 'MRI_PET').rename(harvard / 'mri-pet')
    assert len(HarvardDataset(**options)) == 5


def test_harvard_errors(harvard):
    root = str(harvard)
    for options, message in (
        (dict(task='MRI_XRAY'), 'task must be'),
        (dict(split='val'), 'split must be'),
        (dict(test_share=1.0), 'test_share'),
        (dict(split='test', ann_file='ids.txt'), 'ann_file'),
    ):
        with pytest.raises(ValueError, match=message):
            HarvardDataset(data_root=root, **options)
    with pytest.raises(FileNotFoundError, match='MRI_CT/MRI(.|\n)*Expected layout'):
        HarvardDataset(data_root=root, task='MRI_CT')
    (harvard / 'MRI_PET' / 'PET' / '9.png').unlink()
    with pytest.raises(PairDataError, match='no partner in the folder of the second source \\(PET\\)'):
        HarvardDataset(data_root=root, task='MRI_PET')
    assert len(HarvardDataset(data_root=root, task='MRI_PET', on_error='skip')) == 4


def test_chroma_of_pet_comes_back_on_the_fused_image(harvard):
    """A gray MRI beside a colored PET: the fuser sees luma, the result is in color with the chroma of PET."""
    batch = pseudo_collate([HarvardDataset(data_root=str(harvard), task='MRI_PET', pipeline=PIPELINE)[0]])
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='SourceFuser', source='first')))
    coupling.fuser.color_space, coupling.fuser.channels = 'luminance', (1,)
    inputs = coupling.data_preprocessor(batch, False)['inputs']
    fused = coupling(inputs, mode='tensor')[0]
    blue, red = 10 / 255, 58 / 255
    luma = 0.299 * red + 0.587 * red + 0.114 * blue
    assert fused.shape[0] == 3
    torch.testing.assert_close((fused - 8 / 255)[2].mean(), torch.tensor(blue - luma), atol=1e-3, rtol=0)
    torch.testing.assert_close((fused - 8 / 255)[0].mean(), torch.tensor(red - luma), atol=1e-3, rtol=0)


@pytest.mark.parametrize('cls, modalities', [(MEFBDataset, ('over', 'under')), (MFIFBDataset, ('far', 'near'))])
def test_scene_folders(cls, modalities, tmp_path):
    for scene, first, second in (('Night', 'Night_b.JPG', 'night_A.jpg'), ('Candle', 'Candle_B.png', 'Candle_A.PNG')):
        write(tmp_path / 'Input' / scene / first, 200)
        write(tmp_path / 'Input' / scene / second, 50)
    dataset = cls(data_root=str(tmp_path), pipeline=PIPELINE)
    assert names(dataset) == ['Candle', 'Night'] and dataset.metainfo['modalities'] == modalities
    for sample in dataset:
        assert sample['inputs']['first'].float().mean() > 190 and sample['inputs']['second'].float().mean() < 60
    (tmp_path / 'one.txt').write_text('Night\n')
    assert names(cls(data_root=str(tmp_path), ann_file='one.txt')) == ['Night']
    write(tmp_path / 'Input' / 'Night' / 'Night_B.bmp')
    with pytest.raises(PairDataError, match="_B of scene 'Night'"):
        cls(data_root=str(tmp_path))
    (tmp_path / 'Input' / 'Night' / 'Night_B.bmp').unlink()
    (tmp_path / 'Input' / 'Night' / 'Night_b.JPG').unlink()
    with pytest.raises(PairDataError, match=f'first source \\({modalities[0]}\\)'):
        cls(data_root=str(tmp_path))
    shutil.rmtree(tmp_path / 'Input')
    with pytest.raises(FileNotFoundError, match='Expected layout'):
        cls(data_root=str(tmp_path))


@pytest.mark.parametrize(
    'options, number, channels',
    [
        (dict(type='HarvardDataset', data_root='data/Harvard', task='MRI_CT'), 6, (1, 1)),
        (dict(type='HarvardDataset', data_root='data/Harvard', task='MRI_PET'), 6, (1, 3)),
        (dict(type='HarvardDataset', data_root='data/Harvard', task='MRI_SPECT', split='train'), 4, (1, 3)),
        (dict(type='MEFBDataset', data_root='data/MEFB'), 14, (3, 3)),
        (dict(type='MFIFBDataset', data_root='data/MFIFB'), 12, (3, 3)),
    ],
)
def test_pairs_in_the_official_layout(options, number, channels, sets_dir):
    dataset = DATASETS.build(dict(options, data_root=str(sets_dir / options['data_root']), pipeline=PIPELINE))
    assert len(dataset) == number
    for index in range(min(number, 4)):
        inputs = dataset[index]['inputs']
        assert (inputs['first'].shape[0], inputs['second'].shape[0]) == channels
        if options['type'] == 'MEFBDataset':
            assert inputs['first'].float().mean() > inputs['second'].float().mean() + 20


# Tasks and episodes -------------------------------------------------------------------------------------------------


def tasks(**lengths):
    part = dict(type='DemoPairs', size=(64, 64), pipeline=PIPELINE)
    return FusionTasksDataset(
        {name: dict(part, length=length, seed=seed) for seed, (name, length) in enumerate(lengths.items())}
    )


def test_samples_name_their_task(tmp_path):
    dataset = tasks(street=2, field=3)
    assert [dataset[i]['data_samples'].fusion_task for i in range(5)] == ['street'] * 2 + ['field'] * 3
    assert dataset.ranges() == dict(street=range(2), field=range(2, 5)) and dataset.metainfo['fusion_tasks'] == (
        'street',
        'field',
    )
    for names in ({}, {'no name': {}}, {'my_loss': {}}):
        with pytest.raises(ValueError, match='at least one|cannot name'):
            FusionTasksDataset(names)


def sampler(dataset, epoch=0, rank=0, seed=3, **options):
    base = DefaultSampler(dataset, seed=seed)
    base.epoch, base.rank = epoch, rank
    return EpisodeBatchSampler(
        base, **{**dict(batch_size=2, inner_steps=2, tasks_per_batch=2, batches_per_epoch=12), **options}
    )


def test_episodes_are_balanced_disjoint_and_repeatable():
    dataset = tasks(a=6, b=30, c=3)
    ranges = dataset.ranges()
    batches = list(sampler(dataset))
    assert len(batches) == len(sampler(dataset)) == 12
    turns = []
    for batch in batches:
        episodes = batch[:6], batch[6:]
        owners = [
            next(name for name, indices in ranges.items() if set(episode) <= set(indices)) for episode in episodes
        ]
        assert len(episodes[1]) == 6 and owners[0] != owners[1]
        turns += owners
        for name, episode in zip(owners, episodes):
            assert len(set(episode)) == min(6, len(ranges[name]))  # no pair twice while there are enough
    assert [turns.count(name) for name in 'abc'] == [8, 8, 8]
    assert batches == list(sampler(dataset))
    assert all(batches != list(sampler(dataset, **other)) for other in (dict(epoch=1), dict(rank=1), dict(seed=4)))


def test_sampler_errors():
    dataset = tasks(a=4, b=4)
    for options, message in (
        (dict(batch_size=0), 'batch_size'),
        (dict(inner_steps=-1), 'inner_steps'),
        (dict(tasks_per_batch=3), '1...2'),
        (dict(batches_per_epoch=0), 'batches_per_epoch'),
    ):
        with pytest.raises(ValueError, match=message):
            sampler(dataset, **options)
    with pytest.raises(TypeError, match='FusionTasksDataset'):
        sampler(dataset.datasets[0])


@pytest.mark.parametrize('name, channels', [('harvard', 1), ('mefb', 3), ('mfifb', 3)])
def test_base_configs(name, channels, repo_dir, sets_dir, tmp_path, monkeypatch):
    path = repo_dir / 'configs' / '_base_' / 'datasets' / f'{name}.py'
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='data/(.|\n)*Expected layout'):
        DATASETS.build(Config.fromfile(path).test_dataloader.dataset)
    (tmp_path / 'data').symlink_to(sets_dir / 'data')
    config = Config.fromfile(path)
    train, test = (
        Runner.build_dataloader(dict(config[key], num_workers=0), seed=0)
        for key in ('train_dataloader', 'test_dataloader')
    )
    assert {tuple(image.shape) for images in next(iter(train))['inputs'].values() for image in images} == {
        (channels, 128, 128)
    }
    assert test.dataset[0]['inputs']['first'].shape[1:] == test.dataset[0]['data_samples'].ori_shape
    assert METRICS.build(config.test_evaluator[0]).metrics
