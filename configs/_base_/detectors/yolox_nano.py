"""YOLOX-nano (arXiv 2107.08430), 0.91 M parameters: BGR in 0..255 without mean and std, no mosaic.

Starts from COCO weights in mmdet's layout when `checkpoints/yolox_nano_coco_mmdet.pth` is there, and says so when it is
not; `tools/model_converters/yolox_official.py` makes the file from the official `yolox_nano.pth`. Set `num_classes` in
the config that uses it; the weights of its classes are taken by name from those of COCO.
"""
norm_cfg = dict(type='BN', momentum=0.03, eps=0.001)
act_cfg = dict(type='Swish')

detector = dict(
    type='mmdet.YOLOX',
    data_preprocessor=dict(type='mmdet.DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='mmdet.CSPDarknet',
        deepen_factor=0.33,
        widen_factor=0.25,
        out_indices=(2, 3, 4),
        use_depthwise=True,
        spp_kernal_sizes=(5, 9, 13),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg),
    neck=dict(
        type='mmdet.YOLOXPAFPN',
        in_channels=[64, 128, 256],
        out_channels=64,
        num_csp_blocks=1,
        use_depthwise=True,
        upsample_cfg=dict(scale_factor=2, mode='nearest'),
        norm_cfg=norm_cfg,
        act_cfg=act_cfg),
    bbox_head=dict(
        type='mmdet.YOLOXHead',
        num_classes=80,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=(8, 16, 32),
        use_depthwise=True,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        loss_bbox=dict(type='mmdet.IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0),
        loss_obj=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        loss_l1=dict(type='mmdet.L1Loss', reduction='sum', loss_weight=1.0)),
    train_cfg=dict(assigner=dict(type='mmdet.SimOTAAssigner', center_radius=2.5)),
    test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
    init_cfg=dict(type='mmfusion.PretrainedTask', checkpoint='checkpoints/yolox_nano_coco_mmdet.pth', if_absent='random'))
