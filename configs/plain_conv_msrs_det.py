"""A small color fuser and YOLOX-nano, from COCO, trained together on MSRS: crops around objects, cosine rate, averaged weights.

Start from the fuser that the untouched detector has taught: train configs/plain_conv_msrs_det_frozen.py first, then

    python tools/train.py configs/plain_conv_msrs_det.py --cfg-options load_from=work_dirs/plain_conv_msrs_det_frozen/epoch_7.pth

The cascade for comparison: model.detach=True.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det.py', './_base_/fusers/plain_conv.py', './_base_/detectors/yolox_nano.py',
    './_base_/schedules/warmup_cosine.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3

model = dict(type='JointCoupling', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

resize = dict(type='mmdet.RandomResize', scale=_base_.image_size, ratio_range=(0.5, 1.2), keep_ratio=True)
crop = dict(type='mmdet.RandomCrop', crop_size=(320, 288), allow_negative_crop=False)  # width, height
train_pipeline = [
    _base_.load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='Paired', transform=resize, expand_grey=False),
    dict(type='Paired', transform=crop, expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PairPhotometric'),
    dict(type='PackFusionInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

train_cfg = dict(max_epochs=12, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4, weight_decay=1e-3),
    paramwise_cfg=dict(custom_keys={'multi_level_conv_': dict(lr_mult=2.)}))  # the last layers, whose classes are new
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', ema_type='mmdet.ExpMomentumEMA', momentum=0.002, gamma=100, update_buffers=True)]
