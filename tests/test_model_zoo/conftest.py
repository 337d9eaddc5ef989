"""A folder of the user with one small model in it."""

import pytest
import torch

from mmfusion.model_zoo import write_model
from mmfusion.models.fusers import ReFusion

SMALL = dict(type='ReFusion', channels=4, heads=2, blocks=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of added models."""
    path = tmp_path / 'models'
    monkeypatch.setenv('MMFUSION_MODELS', str(path))
    return path


@pytest.fixture
def small(folder):
    """A model called small, and the state that it was written from."""
    state = ReFusion(channels=4, heads=2, blocks=1).state_dict()
    state = {key: torch.randn_like(value) for key, value in state.items()}
    return write_model(folder, 'small', state, SMALL, ('visible', 'infrared'), 'free', 'A small one'), state
