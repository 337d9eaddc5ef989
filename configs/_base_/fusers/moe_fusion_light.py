"""MoE-Fusion for small machines: narrow fuser with coarse gates, and a narrow two-stream RTMDet as guide.

Same method and losses as ``moe_fusion.py``, other weights: the gradient term does not know the sign of an edge, and
with the published weights (10 and 1) a small fuser that learns fast settles on a negative of the visible image. A
larger pixel term keeps it positive. Set ``guide.detector.bbox_head.num_classes`` in the config that uses it.
"""
fuser = dict(type='MoEFusion', base_channels=4, expert_channels=4, decoder_channels=(8, ), local_grid=(15, 20), global_grid=(8, 10))

fusion_loss = dict(grad=dict(type='SobelMaxLoss', loss_weight=5.), pixel=dict(type='BoxGuidedPixelLoss', loss_weight=10.))

guide = dict(
    type='TwoStreamGuide',
    in_channels=32,
    attention_channels=16,
    detector=dict(
        type='mmdet.RTMDet',
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=False, pad_size_divisor=32),
        backbone=dict(
            type='mmdet.CSPNeXt',
            arch='P5',
            expand_ratio=0.5,
            deepen_factor=0.167,
            widen_factor=0.125,
            channel_attention=True,
            norm_cfg=dict(type='BN'),
            act_cfg=dict(type='SiLU', inplace=True)),
        neck=dict(
            type='mmdet.CSPNeXtPAFPN',
            in_channels=[32, 64, 128],
            out_channels=32,
            num_csp_blocks=1,
            expand_ratio=0.5,
            norm_cfg=dict(type='BN'),
            act_cfg=dict(type='SiLU', inplace=True)),
        bbox_head=dict(
            type='mmdet.RTMDetSepBNHead',
            num_classes=6,
            in_channels=32,
            feat_channels=32,
            stacked_convs=2,
            anchor_generator=dict(type='mmdet.MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
            bbox_coder=dict(type='mmdet.DistancePointBBoxCoder'),
            loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
            loss_bbox=dict(type='mmdet.GIoULoss', loss_weight=2.0),
            with_objectness=False,
            exp_on_reg=False,
            share_conv=True,
            pred_kernel_size=1,
            norm_cfg=dict(type='BN'),
            act_cfg=dict(type='SiLU', inplace=True)),
        train_cfg=dict(assigner=dict(type='mmdet.DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1, debug=False),
        test_cfg=dict(nms_pre=30000, min_bbox_size=0, score_thr=0.001, nms=dict(type='nms', iou_threshold=0.65), max_per_img=300)))
