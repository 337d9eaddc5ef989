"""Pretrained weights through ``init_cfg``: loaded when they are there, a loud warning when their host is not, an error
otherwise.
"""

from urllib.error import URLError

import mmengine.runner.checkpoint as checkpoint
import pytest
import tiny_models
import torch

from mmfusion.models.scoped import build_scoped

URL = 'https://weights.example/resnet18.pth'


def detector(path):
    cfg = tiny_models.faster_rcnn()
    cfg['backbone']['init_cfg'] = dict(type='mmfusion.PretrainedIfReachable', checkpoint=str(path))
    return build_scoped(cfg)


def test_weights_of_a_file_are_loaded(tmp_path):
    source = detector(URL).backbone
    torch.save(source.state_dict(), tmp_path / 'backbone.pth')
    model = detector(tmp_path / 'backbone.pth')
    model.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name


def test_unreachable_host_is_a_warning(monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(checkpoint, 'load_url', unreachable)
    messages = []
    monkeypatch.setattr('mmfusion.models.weight_init.print_log', lambda text, **kwargs: messages.append(text))
    detector(URL).init_weights()
    assert len(messages) == 1 and 'RANDOM weights' in messages[0] and URL in messages[0]


def test_missing_file_stays_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='nothing.pth'):
        detector(tmp_path / 'nothing.pth').init_weights()
