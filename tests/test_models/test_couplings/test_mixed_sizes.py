"""Batches of several sizes: no picture and no loss depends on neighbors or on padding."""

import inspect

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData, PixelData
from small_fusers import SMALL
from tiny_models import faster_rcnn, make_batch, segmentor

import mmfusion.models  # noqa: F401
from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.couplings.steps.image_sizes import size_groups
from mmfusion.models.couplings.steps.pair_batch import PairBatch, random_crop, resize_batch, swap_roles
from mmfusion.models.data_preprocessors.fusion_data_preprocessor import reflected
from mmfusion.models.fusers import BaseFuser
from mmfusion.models.losses import BaseFusionLoss
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

SIZES = ((48, 64), (33, 80), (48, 64), (57, 41))


def registered(base):
    return sorted(
        name
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type)
        and issubclass(cls, base)
        and cls is not base
        and not inspect.isabstract(cls)
        and cls.__module__.startswith('mmfusion.')
    )


def packed(height, width, seed, channels=(3, 1)):
    rng = np.random.default_rng(seed)
    first, second = (torch.from_numpy(rng.integers(0, 256, (c, height, width), dtype=np.uint8)) for c in channels)
    sample = FusionDataSample(
        metainfo=dict(
            img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0), sample_id=str(seed)
        )
    )
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[4.0, 5.0, 30.0, 25.0]]), labels=torch.tensor([seed % 3]))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(rng.integers(0, 3, (1, height, width))))
    return dict(inputs=dict(first=first, second=second), data_samples=sample)


def build(fuser, type_='FusionOnly', divisor=32, **parts):
    torch.manual_seed(1)
    coupling = MODELS.build(
        dict(
            type=type_,
            fuser=dict(type=fuser, **SMALL.get(fuser, {})),
            data_preprocessor=dict(type='FusionDataPreprocessor', pad_size_divisor=divisor),
            **parts,
        )
    )
    with torch.no_grad():  # zero parameters (gates) would tie
        for parameter in coupling.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)
    return coupling


def batches(coupling, training=False, channels=(3, 1), sizes=SIZES):
    """The batch of all sizes, and each sample alone."""
    samples = [packed(*size, seed, channels) for seed, size in enumerate(sizes)]
    return [
        coupling.data_preprocessor(pseudo_collate(part), training)
        for part in (samples, *([sample] for sample in samples))
    ]


def small_guide():
    return dict(type='TwoStreamGuide', detector=faster_rcnn(), in_channels=32, attention_channels=16)


def check_alone(coupling, channels=(3, 1)):
    together, *alone = batches(coupling, channels=channels)
    with torch.no_grad():
        images = coupling(together['inputs'], mode='tensor')
        assert together['inputs']['sizes'] == SIZES and images.shape[-2:] == (64, 96)
        for image, single, (height, width) in zip(images, alone, SIZES):
            expected = coupling(single['inputs'], mode='tensor')[0, :, :height, :width]
            torch.testing.assert_close(image[:, :height, :width], expected, atol=1e-5, rtol=0)
            exact = dict(
                first=single['inputs']['first'][..., :height, :width],
                second=single['inputs']['second'][..., :height, :width],
            )
            torch.testing.assert_close(
                expected, coupling(exact, mode='tensor')[0], atol=1e-5, rtol=0
            )  # nor on the divisor


@pytest.mark.parametrize('channels', [(3, 1), (3, 3), (1, 1)])
@pytest.mark.parametrize('name', registered(BaseFuser))
def test_a_picture_does_not_depend_on_the_sizes_of_its_neighbors(name, channels):
    check_alone(build(name).eval(), channels)


def test_nor_with_a_guide():
    check_alone(build('MoEFusion', guide=small_guide()).eval())


def test_nor_in_predictions():
    coupling = build('MoEFusion', 'JointCoupling', guide=small_guide(), tasks=dict(seg=segmentor())).eval()
    together, *alone = batches(coupling)
    with torch.no_grad():
        found = coupling.predict(**{'inputs': together['inputs'], 'data_samples': together['data_samples']})
        for sample, single, size in zip(found, alone, SIZES):
            expected = coupling.predict(single['inputs'], single['data_samples'])[0]
            assert sample.fused.data.shape[-2:] == size
            torch.testing.assert_close(sample.fused.data, expected.fused.data, atol=1e-5, rtol=0)
            torch.testing.assert_close(sample.seg_logits.data, expected.seg_logits.data, atol=1e-3, rtol=1e-4)


# Arguments of losses that have no defaults for all; a new one needs a line here.
LOSS_ARGUMENTS = dict(
    LuminanceFusionLoss=dict(criterion=dict(type='SobelMaxLoss')),
    TaskFusionLoss=dict(fusion_tasks=dict(one=dict(pixel=dict(type='L1FusionLoss'))), default='one'),
)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', registered(BaseFusionLoss))
def test_losses_leave_the_padding_out(name, training):
    loss = dict(type=name, **LOSS_ARGUMENTS.get(name, {}))
    coupling = build('AverageFuser', fusion_loss=dict(one=loss)).train(training)  # not a pixel depends on another one
    together, *alone = batches(coupling, training)
    fusion = coupling.fuse(together['inputs'])
    found = coupling.fusion_losses(fusion, together['data_samples'])['fusion.loss_one']
    exact = []
    for single, (height, width) in zip(alone, SIZES):
        inputs = {source: single['inputs'][source][..., :height, :width] for source in ('first', 'second')}
        sample = single['data_samples'][0]
        sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[..., :height, :width])
        exact.append(coupling.fusion_losses(coupling.fuse(inputs), [sample])['fusion.loss_one'])
    torch.testing.assert_close(found, torch.stack(exact).mean(), atol=1e-6, rtol=1e-5)


def test_learned_weights_leave_it_out_too():
    coupling = build(
        'ReFusion',
        'MetaCoupling',
        loss_generator=dict(type='LossGenerationModule', channels=8, heads=2, blocks=1),
        crop_size=None,
        fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
        tasks=dict(seg=segmentor()),
    ).eval()
    together, *alone = batches(coupling, True)
    with torch.no_grad():
        found = coupling.weights_of(coupling.fuse(together['inputs']))
        for weights, single, (height, width) in zip(found, alone, SIZES):
            expected = coupling.weights_of(coupling.fuse(single['inputs']))[0]
            torch.testing.assert_close(weights[:, :height, :width], expected[:, :height, :width], atol=1e-5, rtol=0)
        loss = coupling.fusion_losses(coupling.fuse(together['inputs']), together['data_samples'])[
            'fusion.loss_learned'
        ]
        single = [
            coupling.fusion_losses(coupling.fuse(x['inputs']), x['data_samples'])['fusion.loss_learned'] for x in alone
        ]
    torch.testing.assert_close(loss, torch.stack(single).mean(), atol=1e-6, rtol=1e-5)


def test_training_runs_one_batch_and_learns_nothing_from_the_padding():
    coupling = build(
        'MoEFusion',
        'JointCoupling',
        guide=small_guide(),
        tasks=dict(seg=segmentor()),
        fusion_loss=dict(grad=dict(type='SobelMaxLoss'), pixel=dict(type='BoxGuidedPixelLoss')),
    ).train()
    together = batches(coupling, True)[0]
    calls = []
    coupling.fuser.register_forward_hook(
        lambda module, inputs, output: calls.append((len(inputs[0]), output.fused.retain_grad(), output.fused))
    )
    losses = coupling(together['inputs'], together['data_samples'], mode='loss')
    coupling.parse_losses(losses)[0].backward()
    ((number, _, fused),) = calls
    assert number == len(SIZES) and fused.shape[-2:] == (64, 96)
    for gradient, (height, width) in zip(fused.grad, SIZES):
        assert gradient[:, :height, :width].any()
        assert not gradient[:, height:].any() and not gradient[:, :, width:].any()


def test_training_with_pictures_of_one_size_has_no_padding_at_all():
    coupling = build('ReFusion', fusion_loss=dict(pixel=dict(type='L1FusionLoss'))).train()
    together = batches(coupling, True, sizes=[(33, 50)] * 2)[0]
    seen = []
    coupling.fuser.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[-2:]))
    coupling(together['inputs'], together['data_samples'], mode='loss')
    assert seen == [(33, 50)]


def test_the_guide_learns_from_pictures_and_pads_them_itself():
    torch.manual_seed(0)
    guide = MODELS.build(small_guide()).eval()  # eval: batch norms and samplers see the same
    inputs, samples = make_batch(2, 64, 96)
    padded = {name: reflected(image, 96, 160) for name, image in inputs.items()}
    losses = []
    for images in (inputs, padded):
        torch.manual_seed(0)
        guidance, found = guide.loss(images['first'], images['second'], samples)
        losses.append((guidance['attention'], found))
    (plain, expected), (aligned, found) = losses
    assert plain.shape[-2:] == (16, 24) and aligned.shape[-2:] == (96, 160)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)
    wanted = torch.nn.functional.interpolate(plain, size=(64, 96), mode='bilinear', align_corners=True)
    torch.testing.assert_close(aligned[..., :64, :96], wanted)
    assert not aligned[..., 64:, :].any()


def test_batch_operations_keep_the_sizes_right():
    coupling = build('AverageFuser')
    data = batches(coupling, True)[0]
    batch = PairBatch(data['inputs'], data['data_samples'])
    assert swap_roles(batch).inputs['sizes'] == SIZES * 2
    assert 'sizes' not in random_crop(batch, (24, 24)).inputs and 'sizes' not in resize_batch(batch, (40, 40)).inputs
    assert random_crop(batch, None).inputs['sizes'] == SIZES


def test_reflection_repeats_as_often_as_it_takes():
    image = torch.rand(2, 1, 5, 4)
    found = reflected(image, 11, 17)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (0, 6), (0, 13)), mode='reflect')
    np.testing.assert_array_equal(found.numpy(), expected)
    assert reflected(image, 5, 4) is image


def test_groups_come_in_the_order_of_the_sizes():
    assert [group.indices for group in size_groups(SIZES)] == [[0, 2], [1], [3]]


@pytest.mark.parametrize('test_cfg', [None, dict(size_divisor=32)])
def test_shapes_of_the_fused_batch_do_not_reach_a_segmentor(test_cfg):
    torch.manual_seed(0)
    cfg = segmentor()
    cfg['data_preprocessor'].update(test_cfg=test_cfg)
    network = TaskNetwork(cfg).eval()
    inputs, samples = make_batch(1, 57, 83)
    with torch.no_grad():
        expected = network.predict(inputs['first'], samples)[0].seg_logits.data
        samples[0].set_metainfo(
            dict(pad_shape=(96, 128), batch_input_shape=(96, 128))
        )  # as a neighbor of 96x128 makes it
        found = network.predict(reflected(inputs['first'], 96, 128), samples)[0].seg_logits.data
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    _, copies = network.preprocess(inputs['first'], samples, training=False)
    wanted = (57, 83) if test_cfg is None else (64, 96)
    assert copies[0].pad_shape == copies[0].batch_input_shape == wanted and samples[0].pad_shape == (96, 128)


def test_a_segmentor_of_fixed_size_takes_larger_pictures_beside_smaller_ones():
    torch.manual_seed(0)
    cfg = segmentor()
    cfg['data_preprocessor'].update(size=(64, 64), size_divisor=None)
    coupling = build('AverageFuser', 'JointCoupling', tasks=dict(seg=cfg)).train()
    together = batches(coupling, True, sizes=[(48, 60), (90, 40)])[0]
    inputs, copies = coupling.tasks.seg.preprocess(
        coupling.fuse(together['inputs']).image, together['data_samples'], training=True
    )
    assert inputs.shape[-2:] == (90, 64) and all(copy.gt_sem_seg.shape == (90, 64) for copy in copies)
    assert (copies[0].gt_sem_seg.data[:, 48:] == 255).all()
    losses = coupling(together['inputs'], together['data_samples'], mode='loss')
    assert torch.isfinite(losses['seg.decode.loss_ce'])
    assert coupling.tasks.seg.network.data_preprocessor.size == (64, 64)  # smaller batches are padded to it as before
    small = batches(coupling, True, sizes=[(48, 60), (33, 40)])[0]
    assert coupling.tasks.seg.preprocess(coupling.fuse(small['inputs']).image, small['data_samples'], True)[0].shape[
        -2:
    ] == (64, 64)
