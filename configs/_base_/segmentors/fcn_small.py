"""A small FCN (arXiv 1411.4038) of stride 8, 0.2 M parameters: learns from scratch in minutes on a CPU.

For demos and quick trials. It learns from the pixels that it does not know yet (OHEM): with a plain mean over all,
hundreds of steps pass before it predicts anything but background. Set ``decode_head.num_classes`` in the config that
uses it.
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
        size_divisor=8),
    backbone=dict(
        type='mmseg.ResNetV1c',
        depth=18,
        stem_channels=16,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        out_indices=(0, 2),
        norm_cfg=dict(type='BN', requires_grad=True),
        style='pytorch'),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=[16, 64],
        in_index=[0, 1],
        input_transform='resize_concat',
        channels=32,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.,
        num_classes=19,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        sampler=dict(type='mmseg.OHEMPixelSampler', thresh=0.7, min_kept=4000),
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
