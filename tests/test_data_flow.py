"""docs/en/data_flow.md: a pair followed from its files to the input of a task network."""

import cv2
import numpy as np
import pytest
import tiny_models
import torch
from mmengine.dataset import Compose, pseudo_collate

from mmfusion.evaluation.functional import to_uint8
from mmfusion.models.couplings.task_network import TaskNetwork
from mmfusion.models.data_preprocessors import FusionDataPreprocessor
from mmfusion.models.layers import restore_color, split_color
from mmfusion.registry import MODELS

BGR = (30, 100, 200)  # of the visible file


@pytest.fixture
def files(tmp_path):
    """A color file of one value, and a 16-bit infrared one at a quarter of its range."""
    cv2.imwrite(str(tmp_path / 'vi.png'), np.full((20, 24, 3), BGR, np.uint8))
    cv2.imwrite(str(tmp_path / 'ir.png'), np.full((20, 24), 16384, np.uint16))
    return dict(first_path=str(tmp_path / 'vi.png'), second_path=str(tmp_path / 'ir.png'), sample_id='a')


def transforms(*more):
    from mmfusion.registry import TRANSFORMS

    return Compose([TRANSFORMS.build(step) for step in (dict(type='LoadPair'), *more)])


def test_loading(files):
    results = transforms()(files)
    assert results['first'].dtype == np.uint8 and tuple(results['first'][0, 0]) == BGR
    assert results['second'].shape == (20, 24, 1) and results['second'].dtype == np.float32
    assert results['second'][0, 0, 0] == pytest.approx(16384 / 65535)


def test_what_wrapped_transforms_see(files):
    seen = []

    def brighten(results):
        seen.append((results['img'].dtype, float(results['img'].max())))
        return dict(results, img=results['img'].astype(np.float32) + 70.6)

    results = transforms(dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=1.0)))(files)
    assert results['first'].dtype == np.uint8 and results['second'].max() <= 1
    from mmfusion.datasets.transforms import Paired

    results = Paired(brighten, unit_range=False)(transforms()(files))
    assert seen == [(np.uint8, 200.0), (np.float32, pytest.approx(255 * 16384 / 65535))]
    assert tuple(results['first'][0, 0]) == (101, 171, 255)  # rounded, clipped to the range
    assert results['second'][0, 0, 0] == pytest.approx(16384 / 65535 + 70.6 / 255)


@pytest.fixture
def batch(files):
    packed = transforms(dict(type='PackFusionInputs'))(files)
    return packed, FusionDataPreprocessor(pad_size_divisor=16)(pseudo_collate([packed]), training=True)


def test_packing_and_batch(batch):
    packed, data = batch
    assert packed['inputs']['first'].dtype == torch.uint8 and packed['inputs']['first'][:, 0, 0].tolist() == [
        *reversed(BGR)
    ]
    first, second = data['inputs']['first'], data['inputs']['second']
    assert (
        first.shape == (1, 3, 32, 32)
        and second.shape == (1, 1, 32, 32)
        and first.dtype == second.dtype == torch.float32
    )
    torch.testing.assert_close(first[0, :, 31, 31], torch.tensor(BGR[::-1]) / 255)  # reflected into the padding
    assert data['inputs']['sizes'] == ((20, 24),)


def test_color_and_bounds_of_fusing(batch):
    inputs = batch[1]['inputs']
    fuser = MODELS.build(dict(type='AverageFuser'))
    first, second, state = split_color(inputs['first'], inputs['second'], fuser.color_space, fuser.channels)
    assert first.shape[1] == second.shape[1] == 1
    assert first[0, 0, 0, 0].item() == pytest.approx(np.dot((0.299, 0.587, 0.114), BGR[::-1]) / 255)
    too_bright = restore_color(first + 1, state)
    assert too_bright.shape[1] == 3 and too_bright.max() > 1.5
    coupling = MODELS.build(dict(type='FusionOnly', fuser=dict(type='AverageFuser')))
    fused = coupling.eval().fuse(inputs)
    assert fused.sizes == ((20, 24),) and fused.image.shape == (1, 3, 32, 32)
    (part,) = [part for _, part in fused.parts()]
    assert part.fused.shape == (1, 1, 20, 24) and part.first.shape == (1, 1, 20, 24)


@pytest.mark.parametrize('rgb_files', [False, True])
def test_what_a_task_network_gets(batch, rgb_files):
    config = tiny_models.rtmdet()
    mean, std = (config['data_preprocessor'][name] for name in ('mean', 'std'))
    config['data_preprocessor'].update(bgr_to_rgb=False, rgb_to_bgr=rgb_files, pad_size_divisor=32)
    samples = batch[1]['data_samples']
    image = torch.full((1, 3, 32, 32), 0.2)
    image[:, 0], image[:, 2] = 0.8, 3.0
    image.requires_grad_()
    inputs, copies = TaskNetwork(config).preprocess(image, samples, training=False)
    red, green, blue = 0.8 * 255, 0.2 * 255, 255.0  # clamped
    # a network that takes RGB files turns them itself
    seen = torch.tensor([blue, green, red])
    torch.testing.assert_close(inputs[0, :, 5, 5], (seen - torch.tensor(mean)) / torch.tensor(std))
    assert (inputs[0, :, 20:] == 0).all() and (
        inputs[0, :, :, 24:] == 0
    ).all()  # its own padding, not that of the batch
    (gradient,) = torch.autograd.grad(inputs.sum(), image)
    assert (gradient[..., :20, :24] > 0).all() and not gradient[..., 20:, :].any()  # through the clamp too


def test_clamp_of_the_coupling():
    coupling = MODELS.build(
        dict(
            type='JointCoupling',
            clamp=True,
            fuser=dict(type='PlainConvFuser', width=4, layers=2, depth=0, color_space='rgb'),
            tasks=dict(det=tiny_models.rtmdet()),
        )
    )
    for parameter in coupling.fuser.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    fusion = coupling.eval().fuse(dict(first=torch.rand(1, 3, 32, 32), second=torch.rand(1, 3, 32, 32)))
    assert fusion.image.min() >= 0 and fusion.image.max() <= 1
    assert not torch.equal(fusion.image, fusion.fused)  # fusion losses see it as it is


def test_eight_bits():
    assert to_uint8(torch.tensor([-1.0, 0.5 / 255, 1.5 / 255, 2.0])).tolist() == [0, 1, 2, 255]
