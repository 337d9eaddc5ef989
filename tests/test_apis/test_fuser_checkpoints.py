"""A checkpoint of a fuser alone where a coupling's is asked for, and one that takes the sources the other way round."""

import itertools

import numpy as np
import pytest
import torch
from tiny_config import write_tiny_config

from mmfusion.apis import FusionInferencer
from mmfusion.cli.arguments import parse_test_args, parse_train_args
from mmfusion.registry import MODELS
from mmfusion.running.testing import test as run_test
from mmfusion.running.training import train as run_train
from mmfusion.utils import UserError, load_config

_COUNT = itertools.count()
ORDER = ('infrared', 'visible')  # the demo pairs are visible first


def options(folder, *more):
    return [
        '--work-dir',
        str(folder / 'work'),
        '--cfg-options',
        f'experiment_name=fuser_checkpoint{next(_COUNT)}',
        *more,
    ]


@pytest.fixture
def logged(monkeypatch):
    messages = []
    for place in ('apis.build', 'running.source_order'):
        monkeypatch.setattr(f'mmfusion.{place}.print_log', lambda text, *args, **kwargs: messages.append(text))
    return messages


@pytest.fixture
def files(tmp_path):
    """Config of a coupling, and the weights of its fuser alone."""
    config = write_tiny_config(tmp_path)
    fuser = MODELS.build(load_config(config).model.fuser)
    torch.save(
        dict(state_dict={f'fuser.{key}': value for key, value in fuser.state_dict().items()}), tmp_path / 'fuser.pth'
    )
    return config, fuser.eval(), tmp_path / 'fuser.pth'


def pair():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (64, 64), np.uint8), generator.integers(0, 256, (64, 64), np.uint8)


def test_inferencer_fuses_with_it_and_says_so(files, logged):
    config, fuser, path = files
    first, second = pair()
    inferencer = FusionInferencer(config, path)
    with torch.no_grad():
        wanted = (
            fuser(*(torch.from_numpy(image / 255).float()[None, None] for image in (first, second)))
            .fused[0, 0]
            .clamp(0, 1)
        )
    fused = inferencer(first, second)[0].fused
    assert (
        np.abs(fused.astype(float) - wanted.numpy()[..., None] * 255).max() <= 1
    )  # gray, in three channels as the config loads it
    assert any('alone' in text and '--config MoEFusion' in text for text in logged)
    with pytest.raises(UserError, match='no detector'):
        inferencer(first, second, draw_boxes=True)


def test_a_part_of_a_fuser_is_still_refused(files):
    config, _, path = files
    content = torch.load(path, weights_only=True)
    content['state_dict'].popitem()
    torch.save(content, path)
    with pytest.raises(UserError, match='does not fit JointCoupling'):
        FusionInferencer(config, path)


def test_the_test_names_the_remedy(files, tmp_path):
    config, _, path = files
    with pytest.raises(
        UserError,
        match='(?s)missing in the checkpoint.*It is that of the fuser alone.*--config MoEFusion --weights.*load_from=',
    ):
        run_test(parse_test_args([str(config), str(path), *options(tmp_path)]))


@pytest.mark.parametrize(
    'meta, warned',
    [
        (dict(modalities=ORDER), True),
        (dict(dataset_meta=dict(modalities=ORDER)), True),
        (dict(modalities=ORDER[::-1]), False),
        (dict(modalities=('PET', 'MRI')), False),
        (dict(modalities='infrared'), False),
        (None, False),
    ],
)
def test_sources_in_another_order(files, logged, meta, warned, tmp_path):
    config, _, path = files
    torch.save(dict(torch.load(path, weights_only=True), meta=meta), path)
    inferencer = FusionInferencer(config, path)
    assert (
        any('take infrared first and visible second, but the data set gives visible first' in text for text in logged)
        == warned
    )
    assert inferencer.meta['modalities'] == ORDER[::-1]


def test_an_order_that_no_data_set_tells(files, logged):
    _, _, path = files
    torch.save(dict(torch.load(path, weights_only=True), meta=dict(modalities=ORDER)), path)
    fuser = dict(load_config(files[0]).model.fuser)
    assert FusionInferencer(fuser, path).meta['modalities'] == ORDER
    assert any('takes infrared first and visible second' in text for text in logged)


def test_training_and_test_tell_the_order(files, logged, tmp_path, monkeypatch):
    config, _, path = files
    torch.save(dict(torch.load(path, weights_only=True), meta=dict(modalities=ORDER)), path)
    monkeypatch.setattr('mmengine.runner.Runner.train', lambda runner: runner.model)
    monkeypatch.setattr('mmengine.runner.Runner.test', lambda runner: {})
    monkeypatch.setattr('mmfusion.running.training.summary', lambda runner: '')
    runner = run_train(parse_train_args([str(config), *options(tmp_path, f'load_from={path}')]))
    assert sum('infrared first' in text for text in logged) == 1
    torch.save(
        dict(state_dict=runner.model.state_dict(), meta=dict(dataset_meta=dict(modalities=ORDER))),
        tmp_path / 'whole.pth',
    )
    run_test(parse_test_args([str(config), str(tmp_path / 'whole.pth'), *options(tmp_path)]))
    assert sum('infrared first' in text for text in logged) == 2
