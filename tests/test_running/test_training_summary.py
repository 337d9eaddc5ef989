"""Summary at the end of a training: results, folders, and what started from random weights."""

from types import SimpleNamespace

import pytest
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from mmfusion.models.weight_init import PretrainedTask, random_starts
from mmfusion.running.training import summary


@pytest.fixture
def runner(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    hub = MessageHub(f'summary of {tmp_path.name}', log_scalars={'val/coco/bbox_mAP': HistoryBuffer([0.25], [1])})
    return SimpleNamespace(work_dir=str(tmp_path), model=model, message_hub=hub, _load_from=None, _resume=False)


def test_results_and_folders(runner, tmp_path):
    (tmp_path / 'fused' / 'val').mkdir(parents=True)
    (tmp_path / 'fused' / 'val' / 'a.png').touch()
    text = summary(runner)
    assert (
        'coco/bbox_mAP                0.2500' in text and f'1 picture in {tmp_path}' in text and 'warning' not in text
    )


def test_a_random_start_is_said_again_at_the_end(runner, tmp_path, monkeypatch):
    """The log of a training is long, and its beginning scrolls away."""
    monkeypatch.chdir(tmp_path)
    PretrainedTask('none.pth', classes=('a',), if_absent='random')(runner.model[0])
    (said,) = random_starts(runner.model)
    assert 'Conv2d starts from RANDOM weights: checkpoint not found: none.pth' in said
    assert summary(runner).splitlines()[-1] == f'warning: {said}'
    runner._load_from = 'all.pth'
    assert 'warning' not in summary(runner)
