"""LossWeightVisualizationHook: which pictures, what they show, and what happens when they cannot be written."""

import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmfusion.engine.hooks.loss_weight_visualization_hook import LossWeightVisualizationHook, color_map
from mmfusion.models.couplings import FusionOnly
from mmfusion.structures import FusionDataSample


class Pairs(torch.utils.data.Dataset):
    """Three pairs; the first source is white in its left half."""

    metainfo = dict(modalities=('visible', 'infrared'))

    def __len__(self):
        return 3

    def __getitem__(self, index):
        first, second = torch.zeros(3, 20, 32, dtype=torch.uint8), torch.full((1, 20, 32), 100, dtype=torch.uint8)
        first[..., :16] = 255
        sample = FusionDataSample(
            metainfo=dict(img_shape=(20, 32), ori_shape=(20, 32), sample_id=f'pair{index}', scale_factor=(1.0, 1.0))
        )
        return dict(inputs=dict(first=first, second=second), data_samples=sample)


class Coupling(FusionOnly):
    """A coupling whose weight of the first source is its own brightness."""

    def __init__(self):
        super().__init__(
            fuser=dict(type='AverageFuser'),
            data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor', pad_size_divisor=32),
        )

    def generate_weights(self, first, second):
        assert not self.training and not torch.is_grad_enabled()
        torch.rand(5)  # pictures must not move the random numbers of the training
        return torch.cat([first, 1 - first], dim=1)


def make_runner(tmp_path, model=None, val=True):
    loader = SimpleNamespace(dataset=Pairs())
    return SimpleNamespace(
        work_dir=str(tmp_path),
        model=model or Coupling().train(),
        val_loop=object() if val else None,
        val_dataloader=loader,
        train_dataloader=loader,
        epoch=0,
        max_epochs=5,
        logger=logging.getLogger('loss_weights'),
    )


def test_pictures_show_the_weight_beside_the_sources(tmp_path, caplog):
    runner = make_runner(tmp_path)
    state = torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        LossWeightVisualizationHook(num_samples=2).before_train(runner)
    assert torch.equal(torch.get_rng_state(), state) and runner.model.training
    assert sorted(path.name for path in (tmp_path / 'loss_weights' / 'epoch_0').iterdir()) == ['pair0.png', 'pair1.png']
    panel = cv2.imread(str(tmp_path / 'loss_weights' / 'epoch_0' / 'pair0.png'))[..., ::-1]
    assert panel.shape == (22 + 20, 4 * 32 + 3 * 4, 3)  # without the padding to 32 rows
    picture = panel[22:, 72:104]
    assert (picture[:, :16] == (253, 231, 37)).all() and (picture[:, 16:] == (68, 1, 84)).all()
    assert 'after epoch 0: mean 0.5000 over 2 samples' in caplog.text


def test_interval_and_last_epoch(tmp_path):
    hook, runner = (
        LossWeightVisualizationHook(interval=2, num_samples=1, phase='train'),
        make_runner(tmp_path, val=False),
    )
    for runner.epoch in range(5):
        hook.after_train_epoch(runner)
    assert sorted(path.name for path in (tmp_path / 'loss_weights').iterdir()) == ['epoch_2', 'epoch_4', 'epoch_5']


def test_a_fixed_range_of_colours():
    middle = color_map(np.array([[0.5]]), 0, 1)
    assert (color_map(np.array([[0.2]]), 0.1, 0.3) == middle).all()
    assert (color_map(np.array([[9.0]]), 0, 1) == color_map(np.array([[1.0]]), 0, 1)).all()
    assert (color_map(np.array([[0.4]]), 0.4, 0.4) == color_map(np.array([[0.0]]), 0, 1)).all()


def test_a_file_that_cannot_be_written_does_not_end_the_training(tmp_path, caplog):
    (tmp_path / 'loss_weights').write_text('a file in the way')
    LossWeightVisualizationHook().before_train(make_runner(tmp_path))
    assert 'cannot write' in caplog.text and 'training goes on' in caplog.text


def test_bad_input(tmp_path):
    for options, message in (
        (dict(interval=0), 'at least 1'),
        (dict(num_samples=0), 'at least 1'),
        (dict(phase='test'), 'phase must be'),
        (dict(value_range=(1, 0)), 'value_range must be'),
    ):
        with pytest.raises(ValueError, match=message):
            LossWeightVisualizationHook(**options)
    with pytest.raises(ValueError, match='FusionOnly has no loss generation module'):
        LossWeightVisualizationHook().before_train(make_runner(tmp_path, FusionOnly(fuser=dict(type='AverageFuser'))))
