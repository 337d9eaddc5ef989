"""A published fuser whose loss is learned: a frozen YOLOX-nano, from COCO, teaches it on MSRS, as TDFusion has it."""
_base_ = [
    '../default_runtime.py', '../datasets/msrs_det.py', '../datasets/crops.py', '../fusers/refusion_light.py',
    '../detectors/yolox_nano.py', '../fusers/max_loss.py', '../schedules/tdfusion_40e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3

model = dict(
    type='MetaCoupling',
    loss_generator=_base_.loss_generator,
    fusion_loss=dict(
        pixel=dict(type='MaxIntensityLoss', loss_weight=2.),
        learned=dict(type='LearnedFusionLoss', alpha=0.5, loss_weight=10.),
        ssim=_base_.max_loss.ssim),
    tasks=dict(det=detector),
    frozen_tasks=('det', ),
    crop_size=128,
    swap=False)

train_dataloader = dict(batch_size=2, dataset=dict(pipeline=_base_.det_crops))

train_cfg = dict(max_epochs=8, meta_steps=16, val_interval=8, log_interval=8)
optim_wrapper = dict(
    _delete_=True,
    constructor='PartOptimWrapperConstructor',
    fuser=dict(optimizer=dict(type='Adam', lr=5e-4), clip_grad=dict(max_norm=1.)),
    loss_generator=dict(optimizer=dict(type='Adam', lr=3e-3, eps=1e-12)))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min_ratio=0.05, by_epoch=True, begin=0, convert_to_iter_based=True)]
