"""MobileNetV2 (arXiv 1801.04381) with the all-MLP head of SegFormer (arXiv 2105.15203), 1.9 M parameters, light.

The backbone starts from ImageNet weights if they can be reached, otherwise from random ones, which the log says; for
a file of your own set ``backbone.init_cfg.checkpoint``. Set ``decode_head.num_classes`` in the config that uses it.
"""
segmentor = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=32,
        test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='mmseg.MobileNetV2',
        out_indices=(1, 2, 4, 6),
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='mmfusion.PretrainedIfReachable', checkpoint='mmcls://mobilenet_v2')),
    decode_head=dict(
        type='mmseg.SegformerHead',
        in_channels=[24, 32, 96, 320],
        in_index=[0, 1, 2, 3],
        channels=64,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
