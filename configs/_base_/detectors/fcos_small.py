"""A small FCOS (arXiv 1904.01355) with one level of stride 8, 0.3 M parameters: learns from scratch in minutes on a
CPU.

For demos and quick trials on small pictures whose objects are of similar size. Set ``num_classes`` in the config that
uses it.
"""
detector = dict(
    type='mmdet.FCOS',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=8),
    backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        out_indices=(2, ),
        norm_cfg=dict(type='BN', requires_grad=True),
        style='pytorch'),
    neck=dict(type='mmdet.ChannelMapper', in_channels=[64], kernel_size=1, out_channels=64, norm_cfg=dict(type='BN'), num_outs=1),
    bbox_head=dict(
        type='mmdet.FCOSHead',
        num_classes=80,
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        strides=[8],
        regress_ranges=((-1, 1e8), ),
        center_sampling=True,
        center_sample_radius=1.0,
        norm_on_bbox=True,
        norm_cfg=dict(type='BN', requires_grad=True),
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='mmdet.GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
