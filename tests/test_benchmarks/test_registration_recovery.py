"""Rendered pairs of the benchmark on what registration wins back: truth exact, a detector of one's own read as a
training left it.
"""

import importlib
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmfusion.experiments.league.measure import _network_alone, unusable_network
from mmfusion.experiments.league.pair_set import PairSet
from mmfusion.registry import MODELS, build_configured


@pytest.fixture
def recovery(repo_dir, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_dir / 'benchmarks'))
    yield importlib.import_module('registration_recovery')
    sys.modules.pop('registration_recovery', None)


def test_rendered_pairs_are_of_no_training(recovery, repo_dir):
    config = Config.fromfile(repo_dir / 'configs' / 'laplacian_demo_det.py')
    pairs = PairSet(recovery.rendered_pairs(2))
    trained = [config[f'{part}_dataloader'].dataset for part in ('train', 'val')]
    assert len(pairs) == 2 and pairs.has_boxes
    assert pairs.sizes[0] == tuple(config.image_size)
    assert all(
        pairs.pairs.dataset['split'] != part.split or pairs.pairs.dataset['seed'] != part.get('seed', 0)
        for part in trained
    )


def test_detector_of_a_training(recovery, repo_dir, tmp_path):
    config, file = str(repo_dir / 'configs' / 'laplacian_demo_det.py'), tmp_path / 'epoch_1.pth'
    coupling = build_configured(MODELS, Config.fromfile(config).model.to_dict())
    torch.save(
        dict(state_dict={name: torch.full_like(value, 2) for name, value in coupling.state_dict().items()}), file
    )
    pairs = PairSet(recovery.rendered_pairs(1))
    own = recovery.own_detector(config, str(file))
    loaded = _network_alone(own, pairs)
    assert all(value.min().item() == value.max().item() == 2 for value in loaded.tasks['task'].parameters())
    assert unusable_network(own, pairs) == ''


def test_shift_of_a_rendered_pair_is_undone(recovery):
    item = PairSet(recovery.rendered_pairs(1)).item(0)
    pair = recovery.Shifted(item['first'], item['second'], np.array([6.0, -5.0]), 'translation', itself=False)
    assert pair.result.accepted and pair.distances()['from the set'] < 1
