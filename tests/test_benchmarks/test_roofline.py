"""The roofline of a fuser counts what runs, and takes its kernels apart."""

import importlib
import sys

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def roofline(repo_dir, monkeypatch):
    monkeypatch.syspath_prepend(str(repo_dir / 'benchmarks'))
    yield importlib.import_module('roofline')
    sys.modules.pop('roofline', None)


def test_recorded_are_kernels_and_the_bytes_of_the_rest(roofline):
    image, kernel = torch.rand(1, 4, 20, 24).contiguous(memory_format=torch.channels_last), torch.rand(4, 4, 3, 3)

    def run():
        x = F.conv2d(F.conv2d(image, kernel, padding=1), kernel, padding=1)
        return F.relu(x)[:, :2].transpose(2, 3) @ torch.ones(20, 5)

    operations, size = roofline.record(run)
    counts = {function._overloadpacket.__name__: number for function, _, number in operations}
    assert counts == dict(convolution=2, bmm=1)  # equal convolutions are one entry
    # ReLU reads and writes 4 channels; ones(20, 5) are written; the product copies its half in the order it needs
    assert 4 * (2 * 4 * 480 + 100) <= size <= 4 * (2 * 4 * 480 + 100 + 4 * 2 * 480)
    layouts = [value[2] for _, (args, _), _ in operations for value in args if roofline._is_tensor(value)]
    assert image.stride() in layouts
    assert roofline.alone(operations, 1) > 0


def test_figures(roofline, repo_dir, capsys):
    config = str(repo_dir / 'benchmarks' / 'tim_light.py')
    figures = roofline.main([config, '--shape', '32', '40', '--repeats', '1', '--compare', config])
    per_pixel = figures['flops'] / (32 * 40)
    assert per_pixel == pytest.approx(77.9e9 / (480 * 640), rel=0.02)
    assert 0 < figures['least'] < figures['seconds'] and figures['kernels'] > 0 and figures['bytes'] > 0
    printed = capsys.readouterr().out
    assert 'GFLOP/s in a convolution' in printed and 'least possible' in printed
