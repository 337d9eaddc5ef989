"""TDFusion in minutes on two CPU cores: a small FCOS teaches the fusion loss on procedural pairs. Pictures of the
learned weights are saved.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_pairs.py', './_base_/fusers/refusion_light.py', './_base_/detectors/fcos_small.py',
    './_base_/schedules/tdfusion_40e.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(
    type='MetaCoupling',
    fuser=_base_.fuser,
    loss_generator=_base_.loss_generator,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector),
    crop_size=80)

image_size = (96, 128)
train_dataloader = dict(batch_size=4, dataset=dict(length=200, size=image_size))
val_dataloader = dict(dataset=dict(length=60, size=image_size))
test_dataloader = val_dataloader

# Few steps, so larger ones than published.
train_cfg = dict(max_epochs=6, meta_steps=24, val_interval=6, log_interval=12)
optim_wrapper = dict(fuser=dict(optimizer=dict(lr=2e-3)), tasks=dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=35)))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[4], gamma=0.1)]
custom_hooks = [*_base_.custom_hooks, dict(type='LossWeightVisualizationHook', interval=2)]
default_hooks = dict(visualization=dict(panel=True), logger=dict(interval=25))
