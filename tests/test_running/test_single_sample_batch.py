"""A last batch of one picture is found before the training where a batch norm could not take it, and nowhere else."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler, pseudo_collate
from tiny_models import BASES, CLASSES, make_batch, segmentor
from torch.utils.data import DataLoader

import mmfusion.models  # noqa: F401
from mmfusion.registry import MODELS
from mmfusion.running.single_sample_batch import check_single_sample_batch, has_batch_of_one
from mmfusion.utils import UserError


class Pairs(list):
    metainfo = dict(classes=(), seg_classes=('a', 'b', 'c'))


def pairs(number):
    inputs, samples = make_batch(number, 64, 64)
    return Pairs(
        dict(inputs={name: images[i] for name, images in inputs.items()}, data_samples=samples[i])
        for i in range(number)
    )


def pooling_segmentor():
    cfg = segmentor()
    cfg['decode_head'].update(type='PSPHead', pool_scales=(1, 2))
    for key in ('num_convs', 'concat_input'):
        cfg['decode_head'].pop(key)
    return cfg


def runner(network, number=5, fuser='AverageFuser', **options):
    model = MODELS.build(dict(type='JointCoupling', fuser=dict(type=fuser), tasks=dict(seg=network))).train()
    return SimpleNamespace(
        model=model, train_dataloader=DataLoader(pairs(number), collate_fn=pseudo_collate, **options)
    )


@pytest.mark.parametrize(
    ('number', 'size', 'words'),
    [
        (
            5,
            2,
            r'5 pairs leave one for the last batch of 2, and tasks\.seg\.network\.decode_head\S+ sees maps of 1x1 '
            r'pixels.*drop_last=True',
        ),
        (3, 1, 'are batches of one.*batch_size to 2'),
    ],
)
def test_a_batch_norm_on_single_values_is_named(number, size, words):
    with pytest.raises(UserError, match=words):
        check_single_sample_batch(runner(pooling_segmentor(), number, batch_size=size))


def test_what_is_refused_would_indeed_fail():
    given = runner(pooling_segmentor(), batch_size=2)
    last = given.model.data_preprocessor(list(given.train_dataloader)[-1], True)
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        given.model(**last, mode='loss')


@pytest.mark.parametrize(
    'options', [dict(batch_size=2, drop_last=True), dict(batch_size=3), dict(batch_size=4, number=8)]
)
def test_other_batches_are_not_looked_at(options):
    given = runner(pooling_segmentor(), **options)
    given.model.forward = None  # would be called
    check_single_sample_batch(given)


def test_other_networks_may_have_a_batch_of_one():
    check_single_sample_batch(runner(segmentor(), batch_size=2))


def test_nothing_is_changed():
    given = runner(pooling_segmentor(), batch_size=2)
    given.model.tasks.seg.eval()
    before = {name: value.clone() for name, value in given.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with pytest.raises(UserError):
        check_single_sample_batch(given)
    assert all(torch.equal(value, before[name]) for name, value in given.model.state_dict().items())
    assert given.model.training and not any(module.training for module in given.model.tasks.seg.modules())
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[2]
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert not any(
        module._forward_pre_hooks for module in given.model.modules() if isinstance(module, torch.nn.BatchNorm2d)
    )


def test_endless_samplers_have_whole_batches():
    data = pairs(5)
    assert has_batch_of_one(DataLoader(data, batch_size=2))
    assert not has_batch_of_one(DataLoader(data, batch_size=2, sampler=InfiniteSampler(data)))


@pytest.mark.parametrize('name', ['bisenetv2', 'deeplabv3plus_r50'])
def test_shipped_segmentors_that_pool_are_found_and_their_configs_leave_such_a_batch_out(name):
    cfg = Config.fromfile(BASES / 'segmentors' / f'{name}.py').segmentor.to_dict()
    cfg['backbone'].pop('init_cfg', None)
    for head in (
        cfg['decode_head'],
        *(cfg['auxiliary_head'] if isinstance(cfg['auxiliary_head'], list) else [cfg['auxiliary_head']]),
    ):
        head['num_classes'] = CLASSES
    with pytest.raises(UserError, match='1x1 pixels'):
        check_single_sample_batch(runner(cfg, batch_size=2))
    found = [path for path in BASES.parent.glob('*.py') if f'segmentors/{name}' in path.read_text()]
    assert found and all(Config.fromfile(path).train_dataloader.drop_last for path in found)
