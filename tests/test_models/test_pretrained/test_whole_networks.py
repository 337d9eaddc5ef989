"""The checkpoint of a detector or segmentor, named by ``init_cfg``, is there to the last value after
``init_weights``.
"""

import functools
import http.server
import os
import pickle
import threading
from urllib.error import URLError

import mmengine.runner.checkpoint as mmengine_checkpoint
import pytest
import tiny_detectors
import tiny_models
import torch
from tiny_detectors import THEIRS, checkpoint_of, scramble

from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.scoped import build_scoped
from mmfusion.registry import MODELS
from mmfusion.utils import UserError


def network_of(family, **init_cfg):
    cfg = tiny_detectors.FAMILIES[family](len(THEIRS))
    cfg['init_cfg'] = init_cfg
    return cfg


def initialized(family, **init_cfg):
    coupling = MODELS.build(
        dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(net=network_of(family, **init_cfg)))
    )
    coupling.init_weights()
    return coupling.tasks.net.network.state_dict()


def assert_same(state, other):
    assert set(state) == set(other)
    assert [key for key in state if not torch.equal(state[key], other[key])] == []


@pytest.mark.parametrize('family', tiny_detectors.FAMILIES)
@pytest.mark.parametrize('kind', ['Pretrained', 'mmfusion.PretrainedIfReachable'])
def test_every_family_loads_whole(family, kind, tmp_path):
    theirs = checkpoint_of(family, tmp_path / 'theirs.pth')
    assert_same(initialized(family, type=kind, checkpoint=str(tmp_path / 'theirs.pth')), theirs.state_dict())


def test_the_detectors_of_a_guide_load_whole(tmp_path):
    theirs = checkpoint_of('faster_rcnn', tmp_path / 'theirs.pth', THEIRS).state_dict()
    guide = MODELS.build(
        dict(
            type='TwoStreamGuide',
            in_channels=32,
            attention_channels=8,
            detector=network_of('faster_rcnn', type='Pretrained', checkpoint=str(tmp_path / 'theirs.pth')),
        )
    )
    guide.init_weights()
    assert_same(guide.first.state_dict(), theirs)
    assert_same(guide.second.state_dict(), theirs)


def test_one_task_of_a_couplings_checkpoint(tmp_path):
    """Its names have the prefix of the task; with several tasks the config must say which."""
    theirs = scramble(build_scoped(network_of('fcos')))
    state = {f'tasks.det.network.{key}': value for key, value in theirs.state_dict().items()}
    torch.save(dict(state_dict={**state, 'fuser.weight': torch.zeros(1)}), tmp_path / 'one.pth')
    assert_same(
        initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=str(tmp_path / 'one.pth')), theirs.state_dict()
    )
    torch.save(dict(state_dict={**state, 'tasks.seg.network.weight': torch.zeros(1)}), tmp_path / 'two.pth')
    with pytest.raises(UserError, match='tasks.det.network., tasks.seg.network.; say which with prefix'):
        initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=str(tmp_path / 'two.pth'))
    named = initialized(
        'fcos', type='mmfusion.PretrainedTask', checkpoint=str(tmp_path / 'two.pth'), prefix='tasks.det.network'
    )
    assert_same(named, theirs.state_dict())


def test_classes_that_differ_are_an_error_with_the_remedy(tmp_path):
    checkpoint_of('fcos', tmp_path / 'theirs.pth', THEIRS[:4])
    with pytest.raises(
        UserError, match=r'(?s)of another shape.*conv_cls.weight: checkpoint \(4, .*PretrainedTask.*classes='
    ):
        initialized('fcos', type='Pretrained', checkpoint=str(tmp_path / 'theirs.pth'))


def test_entries_beyond_the_network_are_named_in_the_log(tmp_path, monkeypatch):
    theirs = checkpoint_of('mask_rcnn', tmp_path / 'theirs.pth')
    messages = []
    monkeypatch.setattr(
        'mmfusion.models.pretrained.loading.print_log', lambda text, *args, **kwargs: messages.append(text)
    )
    state = initialized('faster_rcnn', type='Pretrained', checkpoint=str(tmp_path / 'theirs.pth'))
    assert_same(state, {key: value for key, value in theirs.state_dict().items() if 'mask_head' not in key})
    assert any('left out' in text and 'roi_head.mask_head.conv_logits.weight' in text for text in messages)


def test_parts_keep_what_they_load(tmp_path):
    """Parts of a neck have an initialization of their own, which runs after that of the neck."""
    theirs = scramble(build_scoped(tiny_models.faster_rcnn())).neck.state_dict()
    torch.save(theirs, tmp_path / 'neck.pth')
    cfg = tiny_models.faster_rcnn()
    cfg['neck']['init_cfg'] = dict(type='mmfusion.PretrainedIfReachable', checkpoint=str(tmp_path / 'neck.pth'))
    task = TaskNetwork(cfg)
    task.init_weights()
    assert_same(task.network.neck.state_dict(), theirs)


@pytest.fixture
def served(tmp_path):
    """Address of a folder on this machine."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_from_an_address(served, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    theirs = checkpoint_of('fcos', tmp_path / 'theirs.pth')
    ours = initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=f'{served}/theirs.pth', classes=THEIRS)
    assert_same(ours, theirs.state_dict())


@pytest.mark.parametrize('kind', ['Pretrained', 'mmfusion.PretrainedTask'])
@pytest.mark.parametrize('by_address', [False, True])
def test_nothing_in_a_file_is_executed(kind, by_address, served, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    torch.save(dict(state_dict=dict(), bomb=Bomb(tmp_path / 'exploded')), tmp_path / 'bomb.pth', pickle_module=pickle)
    with pytest.raises(UserError, match='could run code'):
        initialized('fcos', type=kind, checkpoint=f'{served}/bomb.pth' if by_address else str(tmp_path / 'bomb.pth'))
    with pytest.raises(UserError, match='could run code'):  # the same through mmengine: backbones, load_from, resume
        mmengine_checkpoint.CheckpointLoader.load_checkpoint(
            f'{served}/bomb.pth' if by_address else str(tmp_path / 'bomb.pth')
        )
    assert not (tmp_path / 'exploded').exists()


def test_what_is_not_there(tmp_path, monkeypatch):
    missing = str(tmp_path / 'nothing.pth')
    for kind in ('Pretrained', 'mmfusion.PretrainedTask', 'mmfusion.PretrainedIfReachable'):
        with pytest.raises(UserError, match='checkpoint not found.*nothing.pth'):
            initialized('fcos', type=kind, checkpoint=missing)

    def unreachable(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(mmengine_checkpoint, 'load_url', unreachable)
    messages = []
    monkeypatch.setattr('mmfusion.models.weight_init.print_log', lambda text, **kwargs: messages.append(text))
    address = 'https://weights.example/fcos.pth'
    initialized('fcos', type='mmfusion.PretrainedIfReachable', checkpoint=address)
    initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=address, if_absent='random')
    initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=missing, if_absent='random')
    assert len(messages) == 3 and all('RANDOM weights' in text for text in messages)
    with pytest.raises(URLError):
        initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=address)
    with pytest.raises(ValueError, match='if_absent'):
        initialized('fcos', type='mmfusion.PretrainedTask', checkpoint=address, if_absent='warn')


def test_yolox_of_the_real_file(shared_dir):
    """COCO's rows 0, 1 and 2 for person, bicycle and car: scores equal those of the untouched network, at every
    place.
    """
    path = shared_dir / 'weights' / 'yolox_nano_coco_mmdet.pth'
    if not path.is_file():
        pytest.skip(f'{path.name} is not on this machine')
    networks = []
    for names in (None, ('People', 'bicycle', 'Car')):
        cfg = tiny_models._shipped('yolox_nano')
        cfg['init_cfg'] = dict(type='mmfusion.PretrainedTask', checkpoint=str(path), classes=names)
        cfg['bbox_head']['num_classes'] = len(names or range(80))
        task = TaskNetwork(cfg).eval()
        task.init_weights()
        networks.append(task.network)
    image = torch.randint(0, 256, (1, 3, 64, 96)).float()
    with torch.no_grad():
        whole, named = (network(image) for network in networks)
    for theirs, ours in zip(whole[0], named[0], strict=True):
        torch.testing.assert_close(ours, theirs[:, [0, 1, 2]], rtol=1e-5, atol=1e-5)
    for theirs, ours in zip((*whole[1], *whole[2]), (*named[1], *named[2]), strict=True):
        assert torch.equal(ours, theirs)
