"""Task networks and batches small enough for unit tests, one of every kind that the toolkit promises to take."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from mmfusion.structures import FusionDataSample

BASES = Path(__file__).parents[2] / 'configs' / '_base_'
CLASSES = 3


def _shipped(name):
    return Config.fromfile(BASES / 'detectors' / f'{name}.py').detector.to_dict()


def rtmdet():
    """Single-stage: the shipped RTMDet, narrower."""
    cfg = _shipped('rtmdet_tiny')
    cfg['backbone'].update(widen_factor=0.125)
    cfg['neck'].update(in_channels=[32, 64, 128], out_channels=32)
    cfg['bbox_head'].update(in_channels=32, feat_channels=32, num_classes=CLASSES)
    return cfg


def faster_rcnn():
    """Two-stage: the shipped Faster R-CNN with a small backbone and small fully connected layers."""
    cfg = _shipped('faster_rcnn_r50_fpn')
    cfg['backbone'].update(depth=18, base_channels=8, init_cfg=None, frozen_stages=-1)
    cfg['neck'].update(in_channels=[8, 16, 32, 64], out_channels=32)
    cfg['rpn_head'].update(in_channels=32, feat_channels=32)
    cfg['roi_head']['bbox_roi_extractor'].update(out_channels=32)
    cfg['roi_head']['bbox_head'].update(in_channels=32, fc_out_channels=32, num_classes=CLASSES)
    return cfg


def detr():
    """Transformer: DETR with one encoder and one decoder layer."""
    attention = dict(embed_dims=32, num_heads=4, dropout=0.0, batch_first=True)
    ffn = dict(embed_dims=32, feedforward_channels=64, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True))
    return dict(
        type='mmdet.DETR',
        num_queries=10,
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_size_divisor=1,
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=8,
            num_stages=4,
            out_indices=(3,),
            norm_cfg=dict(type='BN'),
            style='pytorch',
        ),
        neck=dict(
            type='ChannelMapper',
            in_channels=[64],
            kernel_size=1,
            out_channels=32,
            act_cfg=None,
            norm_cfg=None,
            num_outs=1,
        ),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=1,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
            return_intermediate=True,
        ),
        positional_encoding=dict(num_feats=16, normalize=True),
        bbox_head=dict(
            type='DETRHead',
            num_classes=CLASSES,
            embed_dims=32,
            loss_cls=dict(
                type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0, class_weight=1.0
            ),
            loss_bbox=dict(type='L1Loss', loss_weight=5.0),
            loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        ),
        train_cfg=dict(
            assigner=dict(
                type='HungarianAssigner',
                match_costs=[
                    dict(type='ClassificationCost', weight=1.0),
                    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                    dict(type='IoUCost', iou_mode='giou', weight=2.0),
                ],
            )
        ),
        test_cfg=dict(max_per_img=10),
    )


def segmentor():
    """Segmentation: an FCN head on a small ResNet."""
    norm_cfg = dict(type='BN')
    return dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_val=0,
            seg_pad_val=255,
            size_divisor=32,
        ),
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            base_channels=8,
            stem_channels=8,
            num_stages=4,
            out_indices=(3,),
            norm_cfg=norm_cfg,
        ),
        decode_head=dict(
            type='FCNHead',
            in_channels=64,
            in_index=0,
            channels=16,
            num_convs=1,
            concat_input=False,
            dropout_ratio=0.0,
            num_classes=CLASSES,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )


TASKS = dict(rtmdet=rtmdet, faster_rcnn=faster_rcnn, detr=detr, segmentor=segmentor)


def make_batch(number=2, height=64, width=96, seed=0, first_channels=3, second_channels=1):
    """Source images in [0, 1] and samples with boxes and class maps, as the data preprocessor returns them."""
    generator = torch.Generator().manual_seed(seed)
    inputs = dict(
        first=torch.rand(number, first_channels, height, width, generator=generator),
        second=torch.rand(number, second_channels, height, width, generator=generator),
    )
    samples = []
    for index in range(number):
        sample = FusionDataSample(
            metainfo=dict(
                img_id=index,
                sample_id=f'{index:03d}',
                ori_shape=(height, width),
                img_shape=(height, width),
                pad_shape=(height, width),
                batch_input_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        boxes = torch.tensor([[8.0, 10.0, 40.0, 50.0], [50.0, 5.0, 90.0, 60.0]]) + index
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
        sample.ignored_instances = InstanceData(bboxes=boxes.new_zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, CLASSES, (1, height, width), generator=generator))
        samples.append(sample)
    return inputs, samples
