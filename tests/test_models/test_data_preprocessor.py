"""FusionDataPreprocessor: scale, padding, mixed channels, errors."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData, PixelData

from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample


def sample(height, width, channels=(3, 1), name='a', dtype=np.uint8):
    rng = np.random.default_rng(height)
    images = [rng.integers(0, 256, (c, height, width), dtype=np.uint8) for c in channels]
    images = [image if dtype == np.uint8 else (image / 255).astype(dtype) for image in images]
    data = FusionDataSample(metainfo=dict(img_shape=(height, width), sample_id=name))
    data.gt_instances = InstanceData(bboxes=torch.tensor([[1.0, 2.0, 3.0, 4.0]]), labels=torch.tensor([0]))
    data.gt_sem_seg = PixelData(data=torch.ones(1, height, width, dtype=torch.long))
    return dict(inputs=dict(first=torch.from_numpy(images[0]), second=torch.from_numpy(images[1])), data_samples=data)


def build(**kwargs):
    return MODELS.build(dict(type='FusionDataPreprocessor', **kwargs))


@pytest.mark.parametrize('training', [True, False])
def test_scale_and_padding(training):
    samples = [sample(20, 30), sample(26, 17)]
    batch = build(pad_size_divisor=16, pad_value=0.5)(pseudo_collate(samples), training)
    first, second = batch['inputs']['first'], batch['inputs']['second']
    assert (
        first.shape == (2, 3, 32, 32)
        and second.shape == (2, 1, 32, 32)
        and first.dtype == second.dtype == torch.float32
    )
    for index, (height, width) in enumerate([(20, 30), (26, 17)]):
        torch.testing.assert_close(first[index, :, :height, :width], samples[index]['inputs']['first'] / 255)
        assert (first[index, :, height:] == 0.5).all() and (second[index, :, :, width:] == 0.5).all()
        data = batch['data_samples'][index]
        assert data.img_shape == (height, width) and data.pad_shape == data.batch_input_shape == (32, 32)
        assert data.gt_instances.bboxes.tolist() == [[1, 2, 3, 4]]
        seg = data.gt_sem_seg.data
        if training:
            assert seg.shape == (1, 32, 32) and (seg[:, height:] == 255).all() and (seg[:, :height, :width] == 1).all()
        else:
            assert seg.shape == (1, height, width)


def test_no_padding_is_needed_without_divisor():
    batch = build()(pseudo_collate([sample(21, 33), sample(21, 33)]))
    assert batch['inputs']['first'].shape == (2, 3, 21, 33) and batch['inputs']['first'].is_contiguous()
    torch.testing.assert_close(batch['inputs']['second'][1], sample(21, 33)['inputs']['second'] / 255)


def test_grey_joins_color_and_float_joins_bytes():
    batch = build()(
        pseudo_collate([sample(20, 20, (1, 1)), sample(20, 20, (3, 1)), sample(20, 20, (3, 1), dtype=np.float32)])
    )
    first = batch['inputs']['first']
    assert first.shape == (3, 3, 20, 20) and batch['inputs']['second'].shape == (3, 1, 20, 20)
    torch.testing.assert_close(first[0, 0], first[0, 2])
    torch.testing.assert_close(first[1], first[2])  # the same image as bytes and as floats


def test_stacked_tensors_without_samples():
    first = torch.randint(0, 256, (2, 3, 18, 24), dtype=torch.uint8)
    batch = build(pad_size_divisor=8)(dict(inputs=dict(first=first, second=torch.rand(2, 1, 18, 24))))
    assert batch['data_samples'] is None and batch['inputs']['first'].shape == (2, 3, 24, 24)
    assert first.dtype == torch.uint8 and int(first.max()) > 1  # the input is left alone


def test_float_inputs_are_not_changed_in_place():
    data = pseudo_collate([sample(20, 20, dtype=np.float32)])
    before = data['inputs']['first'][0].clone()
    build()(data)['inputs']['first'].mul_(0)
    torch.testing.assert_close(data['inputs']['first'][0], before)


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda data: data['inputs']['second'][1][0, 3].fill_(float('nan')),
            'second source of sample night7 holds NaN',
        ),
        (
            lambda data: data['inputs']['first'][1][0, 3].fill_(float('inf')),
            'first source of sample night7 holds NaN or infinite',
        ),
        (
            lambda data: data['inputs']['second'][1].mul_(255),
            r'second source of sample night7 holds float32 values from 0\S* to 2\S+; float sources',
        ),
        (
            lambda data: data['inputs']['second'][1].sub_(0.5),
            'second source of sample night7 holds float32 values from -0.[45]',
        ),
        (
            lambda data: data['inputs'].update(second=[x[:, :-1] for x in data['inputs']['second']]),
            'sample day1 differ in size',
        ),
        (lambda data: data['inputs'].update(second=data['inputs']['second'][:1]), 'same number of images'),
        (lambda data: data['inputs'].pop('second'), "'first' and 'second'"),
        (lambda data: data.update(inputs=data['inputs']['first']), "'first' and 'second'"),
        (
            lambda data: data['inputs'].update(first=[x[:2] for x in data['inputs']['first']]),
            r'sample day1 must be \(1\|3, H, W\)',
        ),
        (lambda data: data['inputs'].update(first=[x.long() for x in data['inputs']['first']]), 'uint8 or float'),
        (lambda data: data.update(data_samples=data['data_samples'][:1]), '1 data samples for 2 pairs'),
    ],
)
def test_errors_name_the_sample(change, message):
    data = pseudo_collate(
        [sample(20, 20, name='day1', dtype=np.float32), sample(20, 20, name='night7', dtype=np.float32)]
    )
    change(data)
    with pytest.raises(ValueError, match=message):
        build()(data)


def test_bad_divisor():
    with pytest.raises(ValueError, match='pad_size_divisor'):
        build(pad_size_divisor=0)


@pytest.mark.gpu
def test_device():
    batch = build(non_blocking=True).cuda()(pseudo_collate([sample(20, 30)]))
    assert batch['inputs']['first'].is_cuda and batch['data_samples'][0].gt_instances.bboxes.is_cuda
