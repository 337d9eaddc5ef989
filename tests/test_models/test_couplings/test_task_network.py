"""A task network sees fused images through its own preprocessor, differentiably, and leaves labels alone."""

import copy

import numpy as np
import pytest
import tiny_models
import torch

from mmfusion.models.couplings import TaskNetwork, task_network


def test_network_input_equals_that_of_an_image_file():
    """A picture with 8-bit values reaches the network exactly as mmdet's own loading and preprocessing would bring
    it.
    """
    from mmdet.structures import DetDataSample

    for make in (tiny_models.rtmdet, tiny_models.faster_rcnn):
        task = TaskNetwork(make())
        _, samples = tiny_models.make_batch(1, 64, 80)
        rgb = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        as_file = torch.from_numpy(rgb[..., ::-1].copy()).permute(2, 0, 1)
        wanted = task.network.data_preprocessor(
            dict(inputs=[as_file], data_samples=[DetDataSample(metainfo=dict(img_shape=(64, 80)))]), False
        )['inputs']
        image = torch.from_numpy(rgb).permute(2, 0, 1).float()[None] / 255
        got, _ = task.preprocess(image, samples, training=False)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


def test_grey_becomes_three_equal_channels():
    task = TaskNetwork(tiny_models.detr())
    _, samples = tiny_models.make_batch(1)
    got, _ = task.preprocess(torch.full((1, 1, 64, 96), 0.5), samples, training=False)
    dp = task.network.data_preprocessor
    raw = got[0] * dp.std + dp.mean
    torch.testing.assert_close(raw, torch.full_like(raw, 127.5), atol=1e-3, rtol=0)


def test_batch_padding_is_replaced_by_the_networks_own():
    """What lies outside ``img_shape`` must not reach the network: its own padding value stands there."""
    task = TaskNetwork(tiny_models.rtmdet())
    _, samples = tiny_models.make_batch(2)
    samples[1].set_metainfo(dict(img_shape=(40, 70)))
    got, copies = task.preprocess(torch.rand(2, 3, 64, 96), samples, training=True)
    assert got.shape == (2, 3, 64, 96)
    assert (got[1, :, 40:] == 0).all() and (got[1, :, :, 70:] == 0).all() and (got[1, :, :40, :70] != 0).any()
    assert copies[1].batch_input_shape == (64, 96)


@pytest.mark.parametrize('name', tiny_models.TASKS)
def test_gradient_reaches_the_image_and_labels_stay(name):
    task = TaskNetwork(tiny_models.TASKS[name]()).train()
    task.init_weights()
    _, samples = tiny_models.make_batch(2)
    before = copy.deepcopy([(s.gt_instances.bboxes, s.gt_sem_seg.data, dict(s.metainfo)) for s in samples])
    image = torch.rand(2, 3, 64, 96, requires_grad=True)
    losses = task.loss(image, samples)
    total = sum(sum(v) if isinstance(v, list) else v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert image.grad.abs().sum() > 0 and torch.isfinite(image.grad).all()
    for sample, (boxes, seg, meta) in zip(samples, before):
        assert (
            torch.equal(sample.gt_instances.bboxes, boxes)
            and torch.equal(sample.gt_sem_seg.data, seg)
            and dict(sample.metainfo) == meta
        )


def test_padding_of_published_pipelines():
    """RTMDet's necks want multiples of 32, and its published config leaves that to the pipeline."""
    cfg = tiny_models.rtmdet()
    cfg['data_preprocessor'].pop('pad_size_divisor', None)
    task = TaskNetwork(cfg)
    _, samples = tiny_models.make_batch(1, 70, 100)
    inputs, _ = task.preprocess(torch.rand(1, 3, 70, 100), samples, training=False)
    assert inputs.shape == (1, 3, 96, 128)


def test_predictions_come_back_in_original_coordinates():
    task = TaskNetwork(tiny_models.rtmdet()).eval()
    task.init_weights()
    image = torch.rand(1, 3, 64, 96)
    _, plain = tiny_models.make_batch(1)
    _, scaled = tiny_models.make_batch(1)
    scaled[0].set_metainfo(dict(ori_shape=(128, 192), scale_factor=(0.5, 0.5)))
    with torch.no_grad():
        small, large = task.predict(image, plain)[0], task.predict(image, scaled)[0]
    assert len(small.pred_instances) > 0
    torch.testing.assert_close(large.pred_instances.bboxes, small.pred_instances.bboxes * 2, atol=1e-3, rtol=1e-4)


def test_segmentor_predicts_at_original_size():
    task = TaskNetwork(tiny_models.segmentor()).eval()
    _, samples = tiny_models.make_batch(1)
    samples[0].set_metainfo(dict(ori_shape=(128, 192)))
    with torch.no_grad():
        result = task.predict(torch.rand(1, 3, 64, 96), samples)[0]
    assert result.pred_sem_seg.data.shape == (1, 128, 192)


def test_bad_configs_and_missing_labels():
    with pytest.raises(TypeError, match="type='mmdet.RTMDet'"):
        TaskNetwork('mmdet.RTMDet')
    with pytest.raises(TypeError, match='detector or an mmseg segmentor'):
        TaskNetwork(dict(type='mmdet.ResNet', depth=18))
    task = TaskNetwork(tiny_models.rtmdet())
    _, samples = tiny_models.make_batch(1)
    del samples[0].gt_instances
    with pytest.raises(ValueError, match="needs gt_instances.*'000'"):
        task.loss(torch.rand(1, 3, 64, 96), samples)


def mixed_batch():
    """Two images of different size, padded to 64x96, class maps too, as the data preprocessor leaves them."""
    _, samples = tiny_models.make_batch(2)
    samples[1].set_metainfo(dict(img_shape=(40, 70), ori_shape=(80, 140), scale_factor=(0.5, 0.5)))
    samples[1].gt_sem_seg.data[:, 40:] = 255
    samples[1].gt_sem_seg.data[:, :, 70:] = 255
    samples[1].gt_instances = samples[1].gt_instances[:1]
    return torch.rand(2, 3, 64, 96), samples


@pytest.mark.parametrize('options', [dict(), dict(size_divisor=None), dict(size_divisor=None, size=(80, 128))])
def test_class_maps_are_padded_as_the_images_are(options):
    cfg = tiny_models.segmentor()
    cfg['data_preprocessor'].update(options)
    task = TaskNetwork(cfg).train()
    image, samples = mixed_batch()
    inputs, copies = task.preprocess(image, samples, training=True)
    for index, (sample, copied) in enumerate(zip(samples, copies)):
        height, width = sample.img_shape
        seg = copied.gt_sem_seg.data
        assert seg.shape[-2:] == inputs.shape[-2:]
        assert torch.equal(seg[:, :height, :width], samples[index].gt_sem_seg.data[:, :height, :width])
        assert (seg[:, height:] == 255).all() and (seg[:, :, width:] == 255).all()
    assert samples[1].gt_sem_seg.data.shape[-2:] == (64, 96)
    assert torch.isfinite(task.loss(image, samples)['decode.loss_ce'])


@pytest.mark.parametrize('name', ['rtmdet', 'segmentor'])
def test_a_batch_of_different_sizes_is_predicted_as_its_images_are(name):
    task = TaskNetwork(tiny_models.TASKS[name]()).eval()
    task.init_weights()
    image, samples = mixed_batch()
    if name == 'rtmdet':
        for layer in task.network.bbox_head.rtm_reg:
            torch.nn.init.ones_(layer.bias)  # boxes of some size everywhere
    with torch.no_grad():
        together = task.predict(image, samples)
        boxes_or_map = [
            sample.get('pred_instances') if name == 'rtmdet' else sample.pred_sem_seg.data.clone()
            for sample in together
        ]
        if name == 'segmentor':
            assert [tuple(data.shape) for data in boxes_or_map] == [(1, 64, 96), (1, 80, 140)]
            alone = task.predict(image[1:, :, :40, :70], mixed_batch()[1][1:])[0].pred_sem_seg.data
            assert torch.equal(alone, boxes_or_map[1])
        else:
            boxes = boxes_or_map[1].bboxes
            assert (
                len(boxes) and boxes[:, 0::2].max() <= 140 and boxes[:, 1::2].max() <= 80
            )  # clipped to its own image, not to the batch


@pytest.mark.parametrize(
    ('base', 'kind'),
    [
        ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 'detection'),
        ('mmseg::_base_/models/fcn_r50-d8.py', 'segmentation'),
    ],
)
def test_published_configs_are_task_networks_as_they_are(base, kind, tmp_path):
    """``_base_`` of another package, its model as a task: SyncBN on the CPU, batch augmentations, no scope prefix in
    any type.
    """
    from mmfusion.registry import MODELS
    from mmfusion.utils import load_config

    path = tmp_path / 'config.py'
    path.write_text(
        f"_base_ = ['{base}']\ndefault_scope = 'mmfusion'\n"
        "model = dict(_delete_=True, type='JointCoupling', fuser=dict(type='AverageFuser'), "
        'tasks=dict(net=_base_.model))\n'
    )
    coupling = MODELS.build(load_config(path).model)
    assert coupling.tasks.net.kind == kind
    losses = coupling(*tiny_models.make_batch(2), mode='loss')
    assert any(key.startswith('net.') for key in losses)


@pytest.mark.parametrize('name', ['detectors/yolox_nano', 'detectors/rtmdet_tiny', 'segmentors/mobilenet_v2_light'])
def test_layout_of_the_light_networks_changes_nothing(name, monkeypatch, repo_dir):
    """Losses and the gradients of the fused image and of all weights, with channels innermost and in the default
    layout.

    Batch norms are in evaluation mode: over a handful of pixels they would amplify the rounding.
    """
    from mmengine.config import Config

    base = Config.fromfile(repo_dir / 'configs' / '_base_' / f'{name}.py')
    task = TaskNetwork({**base[name.split('/')[0][:-1]].to_dict(), 'init_cfg': None}).train()
    for module in task.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    _, samples = tiny_models.make_batch(2, 64, 96)
    results = []
    assert task._channels_last
    for tried in (task_network.LAYOUT_TRIED, ((), ())):
        monkeypatch.setattr(task_network, 'LAYOUT_TRIED', tried)
        image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)).requires_grad_()
        inputs, _ = task.preprocess(image, samples, training=True)
        assert inputs.is_contiguous() == (tried == ((), ()))
        torch.manual_seed(0)
        losses = task.loss(image, samples)
        losses = {
            key: sum(value) if isinstance(value, list) else value for key, value in losses.items() if 'loss' in key
        }
        gradients = torch.autograd.grad(sum(losses.values()), [image, *task.parameters()], allow_unused=True)
        results.append((losses, torch.cat([gradient.reshape(-1) for gradient in gradients if gradient is not None])))
    (losses, gradients), (expected, wanted) = results
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    assert (gradients - wanted).norm() < 1e-4 * wanted.norm()


def test_other_networks_keep_their_layout():
    for make in (tiny_models.faster_rcnn, tiny_models.detr, tiny_models.segmentor):
        task = TaskNetwork(make())
        _, samples = tiny_models.make_batch(2)
        assert task.preprocess(torch.rand(2, 3, 64, 96), samples, training=True)[0].is_contiguous()
