"""Strided 1x1 convolutions of narrow networks: the same numbers, and no process dies."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from small_fusers import SMALL
from tiny_models import TASKS
from torch import nn

import mmfusion.models  # noqa: F401
from mmfusion.models.fusers import BaseFuser
from mmfusion.models.layers.strided_pointwise import avoid_strided_pointwise, is_narrow_strided_pointwise
from mmfusion.models.scoped import build_scoped
from mmfusion.registry import MODELS


def backward(conv, x):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = conv(x)
    y.square().sum().backward()
    return y.detach(), x.grad, conv.weight.grad, conv.bias.grad


@pytest.mark.parametrize('size', [(7, 10), (64, 80)])
@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('stride', [2, (1, 3)])
@pytest.mark.parametrize('channels', [2, 8, 24])
def test_outputs_and_gradients_stay_what_they_were(channels, stride, groups, size):
    torch.manual_seed(0)
    reference = nn.Conv2d(channels, 6, 1, stride, groups=groups).double()  # double and contiguous: another kernel
    changed = avoid_strided_pointwise(copy.deepcopy(reference)).float()
    x = torch.randn(2, channels, *size, dtype=torch.double)
    wanted = backward(reference, x)
    found = backward(changed, x.float().contiguous(memory_format=torch.channels_last))
    for a, b in zip(found, wanted):
        torch.testing.assert_close(a.double(), b, atol=1e-4, rtol=1e-5)
    assert changed.state_dict().keys() == reference.state_dict().keys()
    assert changed(x.float()).shape == reference(x).shape
    assert len(avoid_strided_pointwise(changed)._forward_pre_hooks) == 1  # a second time does nothing


def test_other_convolutions_are_left_alone():
    network = nn.Sequential(
        nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1, 2), nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 8, 1, 2, padding=1)
    )
    avoid_strided_pointwise(network)
    assert not any(module._forward_pre_hooks for module in network)


def test_a_copy_and_a_pickle_keep_the_hook():
    conv = avoid_strided_pointwise(nn.Conv2d(8, 4, 1, 2))
    x = torch.rand(1, 8, 6, 6)
    for other in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert torch.equal(other(x), conv(x)) and other(x).shape[-1] == 3


@pytest.mark.parametrize('name', sorted(TASKS))
def test_networks_of_others_are_built_without_them(name):
    assert not any(map(is_narrow_strided_pointwise, build_scoped(TASKS[name]()).modules()))


def test_no_fuser_has_them():
    for name, cls in MODELS.module_dict.items():
        if isinstance(cls, type) and issubclass(cls, BaseFuser) and cls.__module__.startswith('mmfusion.'):
            assert not any(
                map(is_narrow_strided_pointwise, MODELS.build(dict(type=name, **SMALL.get(name, {}))).modules())
            ), name


CONVOLUTIONS = """
import torch
from torch import nn
from mmfusion.models.layers.strided_pointwise import avoid_strided_pointwise
torch.set_num_threads(1)
for channels in (1, 2, 3, 6, 8, 12, 15, 24):
    for height, width in ((64, 80), (96, 128), (192, 256), (240, 320)):
        conv = avoid_strided_pointwise(nn.Conv2d(channels, 16, 1, 2))
        x = torch.randn(2, channels, height, width).contiguous(memory_format=torch.channels_last).requires_grad_()
        conv(x).sum().backward()
        del conv, x
        [torch.randn(n) for n in (100, 1000, 10000, 100000)]  # an allocator that was written over notices here
print('alive')
"""

GUIDE = """
import torch
from mmengine.structures import InstanceData
from tiny_models import faster_rcnn, make_batch
from mmfusion.models.guides import TwoStreamGuide
from mmfusion.utils import register_all_modules
register_all_modules()
torch.set_num_threads(1)
for width, size in ((8, (256, 320)), (4, (320, 448))):
    detector = faster_rcnn()
    detector['backbone'].update(base_channels=width)
    detector['neck'].update(in_channels=[width, 2 * width, 4 * width, 8 * width])
    guide = TwoStreamGuide(detector=detector, in_channels=32, attention_channels=16).train()
    inputs, samples = make_batch(1, *size)
    _, losses = guide.loss(inputs['first'], inputs['second'], samples)
    sum(sum(value) if isinstance(value, list) else value for name, value in losses.items() if 'loss' in name).backward()
    assert all(torch.isfinite(p.grad).all() for p in guide.parameters() if p.grad is not None)
print('alive')
"""


@pytest.mark.parametrize('program', [CONVOLUTIONS, GUIDE], ids=['convolutions', 'guide'])
def test_the_process_lives(program):
    done = subprocess.run(
        [sys.executable, '-c', f'import sys; sys.path[:0] = {sys.path!r}\n{program}'], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.split()[-1] == 'alive', (done.returncode, done.stderr[-2000:])
