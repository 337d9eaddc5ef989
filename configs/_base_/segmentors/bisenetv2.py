"""BiSeNetV2 (arXiv 2004.02147), 14.8 M parameters of which 3.3 M work in a test, from scratch. Set ``num_classes`` of
all five heads.
"""
norm_cfg = dict(type='BN', requires_grad=True)
loss_decode = dict(type='mmseg.CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True, loss_weight=1.0)
auxiliary = dict(
    type='mmseg.FCNHead', num_convs=2, num_classes=19, norm_cfg=norm_cfg, concat_input=False, align_corners=False, loss_decode=loss_decode)
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
        type='mmseg.BiSeNetV2',
        detail_channels=(64, 64, 128),
        semantic_channels=(16, 32, 64, 128),
        semantic_expansion_ratio=6,
        bga_channels=128,
        out_indices=(0, 1, 2, 3, 4),
        align_corners=False,
        norm_cfg=norm_cfg),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=128,
        in_index=0,
        channels=1024,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=loss_decode),
    auxiliary_head=[
        dict(auxiliary, in_channels=16, channels=16, in_index=1),
        dict(auxiliary, in_channels=32, channels=64, in_index=2),
        dict(auxiliary, in_channels=64, channels=256, in_index=3),
        dict(auxiliary, in_channels=128, channels=1024, in_index=4),
    ],
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
