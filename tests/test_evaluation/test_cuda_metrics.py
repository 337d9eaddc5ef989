"""Every metric of every protocol: the code for a GPU against the code for the CPU."""

from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import pytest
import scipy.ndimage
import torch

from mmfusion.evaluation import protocols as MP

METRICS = [(protocol, name) for protocol, table in MP.PROTOCOLS.items() for name in table.metrics]
# protocols share functions: one of each is enough for the sweep without a GPU
SPECS = {pair: MP.get_metric(pair[1], pair[0]) for pair in METRICS}
DISTINCT = list({(spec.function, spec.field): pair for pair, spec in SPECS.items()}.values())


@lru_cache
def images(height=177, width=190, n=2):
    """Fused images and sources with edges, texture and noise, large enough for five scales, of odd size, uint8 (N, 1,
    H, W).
    """
    rng = np.random.default_rng(0)

    def picture():
        smooth = scipy.ndimage.gaussian_filter(rng.random((height, width)), 4)
        smooth = (smooth - smooth.min()) / np.ptp(smooth)
        return 200 * smooth + 30 * (smooth > 0.6) + rng.normal(0, 6, (height, width))

    sources = [np.stack([picture() for _ in range(n)])[:, None] for _ in range(2)]
    batches = (0.6 * sources[0] + 0.4 * sources[1], *sources)
    return [torch.from_numpy(image.clip(0, 255).round().astype(np.uint8)) for image in batches]


@contextmanager
def code_for_gpus():
    """Tensors claim to be on a GPU and refuse to become arrays, so that the functions take their GPU branches, here on
    the CPU.
    """

    def refuse(self, *args, **kwargs):
        raise TypeError('a tensor on a GPU is no array')

    to_array = torch.Tensor.__array__
    torch.Tensor.is_cuda, torch.Tensor.numpy, torch.Tensor.__array__ = property(lambda self: True), refuse, refuse
    try:
        yield
    finally:
        del torch.Tensor.is_cuda, torch.Tensor.numpy  # the inherited ones show again
        torch.Tensor.__array__ = to_array


def compare(got, expected):
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            got[key].cpu(), value, rtol=1e-10, atol=1e-14, equal_nan=True, msg=lambda text, key=key: f'{key}: {text}'
        )


@pytest.mark.parametrize('protocol,name', DISTINCT)
def test_code_for_gpus_equals_code_for_cpus(protocol, name):
    batch = images()
    expected = MP.evaluate_metric(name, *batch, protocol=protocol)
    with code_for_gpus():
        got = MP.evaluate_metric(name, *batch, protocol=protocol)
    compare(got, expected)


@pytest.mark.gpu
@pytest.mark.parametrize('protocol,name', METRICS)
def test_cuda_equals_cpu(protocol, name):
    batch = images()
    got = MP.evaluate_metric(name, *(image.cuda() for image in batch), protocol=protocol)
    assert all(value.is_cuda and value.dtype == torch.float64 for value in got.values())
    compare(got, MP.evaluate_metric(name, *batch, protocol=protocol))


@pytest.mark.gpu
@pytest.mark.parametrize('protocol,name', [pair for pair in METRICS if MP.PROTOCOLS[pair[0]].channels == 'each'])
def test_cuda_equals_cpu_in_colour(protocol, name):
    batch = [torch.cat([image, image.flip(-1), 255 - image], dim=1) for image in images(n=1)]
    compare(
        MP.evaluate_metric(name, *(image.cuda() for image in batch), protocol=protocol),
        MP.evaluate_metric(name, *batch, protocol=protocol),
    )


def test_code_for_gpus_is_left_behind():
    image = torch.zeros(2)
    with code_for_gpus():
        assert image.is_cuda
        for convert in (image.numpy, lambda: np.asarray(image)):
            with pytest.raises(TypeError, match='no array'):
                convert()
    assert not image.is_cuda and not image.numpy().any() and np.asarray(image).shape == (2,)
