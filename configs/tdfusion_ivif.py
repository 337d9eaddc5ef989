"""TDFusion's learned loss for the ReFusion of refusion_ivif.py: a frozen YOLOX-nano teaches it on MSRS, in minutes on a
CPU.

First train refusion_ivif.py, whose last checkpoint is the start. Held-out pairs are those of ivif_pairs.py.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det.py', './_base_/fusers/refusion_light.py', './_base_/detectors/yolox_nano.py',
    './_base_/fusers/max_loss.py', './_base_/schedules/tdfusion_40e.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

# The learned weights choose between the sources in the squared term; the others keep the picture natural.
fusion_loss = dict(
    pixel=dict(type='MaxIntensityLoss', loss_weight=2.),
    learned=dict(type='LearnedFusionLoss', alpha=0.5, loss_weight=10.),
    ssim=_base_.max_loss.ssim)
model = dict(
    type='MetaCoupling',
    fuser=dict(_base_.fuser, init_cfg=dict(type='Pretrained', checkpoint='work_dirs/refusion_ivif/epoch_24.pth', prefix='fuser.')),
    loss_generator=_base_.loss_generator,
    fusion_loss=fusion_loss,
    tasks=dict(det=detector),
    frozen_tasks=('det', ),  # a teacher that knows its objects already
    crop_size=128,
    swap=False)

load_pair = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
train_pipeline = [
    load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='Paired', transform=dict(type='mmdet.RandomResize', scale=(640, 480), ratio_range=(0.6, 1.0), keep_ratio=True), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomCrop', crop_size=(192, 160), allow_negative_crop=False), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PairPhotometric', gamma=(0.7, 1.5)),
    dict(type='PackFusionInputs'),
]
held_out = list(range(0, 130, 5))
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(indices=[i for i in range(130) if i not in held_out], pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, dataset=dict(split='train', indices=held_out))
test_dataloader = dict(num_workers=0)

train_cfg = dict(max_epochs=5, meta_steps=16, val_interval=5, log_interval=8)
optim_wrapper = dict(
    _delete_=True,
    constructor='PartOptimWrapperConstructor',
    fuser=dict(optimizer=dict(type='Adam', lr=5e-4), clip_grad=dict(max_norm=1.)),
    loss_generator=dict(optimizer=dict(type='Adam', lr=3e-3, eps=1e-12)))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min_ratio=0.05, by_epoch=True, begin=0, convert_to_iter_based=True)]
