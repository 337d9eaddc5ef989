"""Networks that learn from more than boxes and class maps: masks, edge maps, class maps of their own, through the real
pipeline into the loss.
"""

import copy

import numpy as np
import pytest
import tiny_detectors
import tiny_models
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData, PixelData

from mmfusion.datasets import DemoPairs
from mmfusion.datasets.transforms import Paired
from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.couplings.steps.pair_batch import PairBatch, random_crop, resize_batch, swap_roles
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import register_all_modules

LOAD = [
    dict(type='LoadPair'),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='LoadClassMap'),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5)),
]
EDGES = dict(type='mmseg.GenerateEdge', edge_width=4)
PACK = dict(type='PackFusionInputs')


def batch(*extra, sizes=((96, 128), (64, 96))):
    """One pair of each size, as a loader of the demo pairs gives them."""
    return pseudo_collate(
        [DemoPairs(length=2, size=size, pipeline=copy.deepcopy([*LOAD, *extra, PACK]))[1] for size in sizes]
    )


def coupling(network):
    model = MODELS.build(dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(net=network)))
    model.init_weights()
    return model


def losses_and_predictions(network, *extra):
    """Losses of a training step on a batch of mixed sizes with a gradient at the source, and the samples of a
    prediction.
    """
    model = coupling(network)
    data = model.data_preprocessor(batch(*extra), True)
    data['inputs']['second'].requires_grad_()
    model.train()
    losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    gradient = data['inputs']['second'].grad
    assert torch.isfinite(total) and torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        samples = model(**model.data_preprocessor(batch(*extra), False), mode='predict')
    return losses, samples


def test_instance_segmentation():
    losses, samples = losses_and_predictions(tiny_detectors.mask_rcnn(3))
    assert 'net.loss_mask' in losses
    for sample, size in zip(samples, ((96, 128), (64, 96))):
        assert 'masks' in sample.pred_instances and sample.pred_instances.masks.shape[1:] == size


def test_masks_of_the_network_are_those_of_the_pictures():
    """What a Mask R-CNN is to learn lies inside its boxes, after flips and the padding of the batch."""
    task = coupling(tiny_detectors.mask_rcnn(3)).tasks.net
    task.network.data_preprocessor.pad_mask = True
    model = coupling(tiny_detectors.mask_rcnn(3))
    data = model.data_preprocessor(batch(), True)
    inputs, samples = task.preprocess(data['inputs']['first'], data['data_samples'], training=True)
    for sample in samples:
        masks = sample.gt_instances.masks
        assert (masks.height, masks.width) == tuple(inputs.shape[-2:]) and len(masks) == len(
            sample.gt_instances.bboxes
        ) > 0
        for box, mask in zip(sample.gt_instances.bboxes.numpy(), masks.masks):
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == tuple(box)


def test_cascade_with_a_class_map_of_its_own():
    cfg = tiny_detectors.htc(3, seg_classes=4)
    losses, samples = losses_and_predictions(cfg)
    assert 'net.loss_semantic_seg' in losses and 'net.s2.loss_mask' in losses
    assert 'masks' in samples[0].pred_instances


def test_pidnet():
    losses, samples = losses_and_predictions(tiny_detectors.pidnet(4), EDGES)
    assert len(losses) == 5 and samples[1].pred_sem_seg.data.shape == (1, 64, 96)


def test_edge_maps_are_padded_and_cut_as_the_images_are():
    task = coupling(tiny_detectors.pidnet(4)).tasks.net
    data = coupling(tiny_detectors.pidnet(4)).data_preprocessor(batch(EDGES), True)
    small = data['data_samples'][1]
    assert small.gt_edge_map.data.shape == (1, 96, 128) and (small.gt_edge_map.data[:, 64:] == 255).all()
    seg = small.gt_sem_seg.data[0, :64, :96]
    differs = seg[1:] != seg[:-1]
    edges = small.gt_edge_map.data[0, :64, :96]
    assert edges[1:][differs].all() and edges.float().mean() < 0.5
    inputs, samples = task.preprocess(data['inputs']['first'], data['data_samples'], training=True)
    assert samples[1].gt_edge_map.data.shape[-2:] == inputs.shape[-2:]
    assert torch.equal(samples[1].gt_edge_map.data[0, :64, :96], edges)


@pytest.mark.parametrize('number', [(96, 128), (75, 101)])
def test_centernet(number):
    """Boxes come back in pixels of the picture, whatever its size: the network's map covers its input exactly."""
    model = coupling(tiny_detectors.centernet(3))
    head = model.tasks.net.network.bbox_head
    _, samples = tiny_models.make_batch(1, *number)
    inputs, copies = model.tasks.net.preprocess(torch.rand(1, 3, *number), samples, training=False)
    assert all(side % 32 == 0 for side in inputs.shape[-2:])
    heat = torch.full((1, 3, inputs.shape[-2] // 4, inputs.shape[-1] // 4), 0.01)
    heat[0, 1, 10, 15] = 0.9  # an object 8 wide and 6 high (of the map), its center a quarter of a cell off
    sizes, offsets = (torch.zeros_like(heat[:, :2]) for _ in range(2))
    sizes[0, :, 10, 15], offsets[0, :, 10, 15] = torch.tensor([8.0, 6.0]), 0.25
    (found,) = head.predict_by_feat([heat], [sizes], [offsets], batch_img_metas=[copies[0].metainfo], rescale=True)
    assert found.labels[0] == 1
    torch.testing.assert_close(found.bboxes[0], torch.tensor([11.25, 7.25, 19.25, 13.25]) * 4)


def test_centernet_learns_and_predicts():
    losses, samples = losses_and_predictions(tiny_detectors.centernet(3))
    assert {'net.loss_center_heatmap', 'net.loss_wh', 'net.loss_offset'} <= set(losses)
    assert len(samples[0].pred_instances) > 0


def test_center_crop_pad_of_centernet_in_the_pipeline():
    """The transform asks for float pictures, and tells where it puts them."""
    pad = dict(
        type='mmdet.RandomCenterCropPad',
        ratios=None,
        border=None,
        mean=[0, 0, 0],
        std=[1, 1, 1],
        to_rgb=True,
        test_mode=True,
        test_pad_mode=['logical_or', 31],
        test_pad_add_pix=1,
    )
    pipeline = [dict(type='LoadPair'), dict(type='Paired', transform=pad, to_float32=True), PACK]
    packed = DemoPairs(length=1, size=(70, 100), pipeline=pipeline)[0]
    assert packed['inputs']['first'].shape == (3, 96, 128) and packed['inputs']['second'].shape == (1, 96, 128)
    top, bottom, left, right = packed['data_samples'].border
    assert (bottom - top, right - left) == (70, 100)
    plain = DemoPairs(length=1, size=(70, 100), pipeline=[dict(type='LoadPair'), PACK])[0]
    for source in ('first', 'second'):
        inside = packed['inputs'][source][:, int(top) : int(bottom), int(left) : int(right)]
        assert inside.dtype == torch.uint8 and torch.equal(inside, plain['inputs'][source])


@pytest.mark.parametrize(
    'network, field, remedy',
    [
        (lambda: tiny_detectors.mask_rcnn(3), 'masks', 'with_mask=True'),
        (lambda: tiny_detectors.htc(3, seg_classes=4), 'gt_sem_seg', 'LoadClassMap'),
        (lambda: tiny_detectors.pidnet(4), 'gt_edge_map', 'mmseg.GenerateEdge'),
        (lambda: tiny_detectors.fcos(3), 'gt_instances', 'load annotations'),
    ],
)
def test_what_is_missing_is_said(network, field, remedy):
    task = TaskNetwork(network())
    _, samples = tiny_models.make_batch(1)
    sample = samples[0]
    if field != 'masks':
        sample.gt_instances.masks = BitmapMasks(np.ones((2, 64, 96), np.uint8), 64, 96)
        if field in sample:
            delattr(sample, field)
    with pytest.raises(ValueError, match=f"needs {field} for its loss, but sample '000' has none.*{remedy}"):
        task.loss(torch.rand(1, 3, 64, 96), samples)


def labelled_sample(height=24, width=32):
    """Labels of every kind, all of them drawn from one picture of numbers."""
    numbers = torch.arange(height * width).view(1, height, width)
    masks = np.zeros((2, height, width), np.uint8)
    masks[0, 4:12, 6:20], masks[1, :3, :3] = 1, 1
    sample = FusionDataSample(metainfo=dict(img_shape=(height, width), sample_id='a'))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[6.0, 4.0, 20.0, 12.0], [0.0, 0.0, 3.0, 3.0]]),
        labels=torch.tensor([1, 0]),
        masks=BitmapMasks(masks, height, width),
    )
    sample.gt_sem_seg, sample.gt_edge_map = PixelData(data=numbers), PixelData(data=numbers + 1)
    sample.gt_depth_map = PixelData(data=numbers.float() / 2)
    sample.proposals = InstanceData(bboxes=torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    sample.own_labels = torch.tensor([3.0])
    return sample


def test_every_label_is_copied_and_no_result():
    sample = labelled_sample()
    sample.pred_instances, sample.fused = InstanceData(bboxes=torch.zeros(1, 4)), PixelData(data=torch.zeros(1, 24, 32))
    new = sample.copy_labels()
    assert set(new.keys()) == {'gt_instances', 'gt_sem_seg', 'gt_edge_map', 'gt_depth_map', 'proposals', 'own_labels'}
    assert len(new.gt_instances.masks) == 2 and new.sample_id == 'a'
    new.own_labels += 1
    del new.gt_instances.masks
    assert sample.own_labels == 3 and len(sample.gt_instances.masks) == 2


def test_a_sample_keeps_copies_of_meta_information_that_can_change():
    pad, homography = [1, 2], torch.eye(3)
    sample = FusionDataSample(metainfo=dict(pad=pad, homography=homography, flips=(pad, 'h'), img_shape=(4, 6)))
    new = sample.copy_labels()
    pad[0], homography[0, 0] = 9, 9.0
    for one in (sample, new):
        assert one.pad == [1, 2] and one.flips == ([1, 2], 'h') and one.homography[0, 0] == 1
    assert new.img_shape == (4, 6) and new.pad is not sample.pad


def test_crops_and_resizes_of_a_batch_take_every_label_along():
    pictures = dict(
        first=torch.arange(24 * 32).view(1, 1, 24, 32).float(), second=torch.arange(24 * 32).view(1, 1, 24, 32).float()
    )
    cut = random_crop(PairBatch(pictures, [labelled_sample()]), (16, 20))
    seen, sample = cut.inputs['first'][0].long(), cut.samples[0]
    assert torch.equal(sample.gt_sem_seg.data, seen) and torch.equal(sample.gt_edge_map.data, seen + 1)
    assert torch.equal(sample.gt_depth_map.data, seen / 2)
    assert len(sample.gt_instances) == len(sample.gt_instances.masks) == len(sample.gt_instances.bboxes)
    for box, mask in zip(sample.gt_instances.bboxes.long().tolist(), sample.gt_instances.masks.masks):
        assert (
            mask.shape == (16, 20)
            and mask[box[1] : box[3], box[0] : box[2]].all()
            and mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
        )
    large = resize_batch(PairBatch(pictures, [labelled_sample()]), (48, 64)).samples[0]
    assert large.gt_edge_map.data.shape == (1, 48, 64) and large.gt_instances.masks.masks.shape == (2, 48, 64)
    assert torch.equal(large.gt_depth_map.data[:, ::2, ::2], pictures['first'][0] / 2)
    both = swap_roles(PairBatch(pictures, [labelled_sample()]))
    assert len(both.samples[1].gt_instances.masks) == 2 and 'gt_edge_map' in both.samples[1]


def test_pipeline_that_loses_masks_is_told():
    register_all_modules()
    drop = Paired(lambda results: dict(results, gt_masks=results['gt_masks'][[0]]))
    with pytest.raises(ValueError, match=r'has \d+ boxes and 1 masks'):
        DemoPairs(length=2, size=(96, 128), pipeline=[*copy.deepcopy(LOAD[:3]), drop, PACK])[1]
