"""TIM in minutes on two CPU cores: a small FCOS guides a narrow network over the optima of the fusion loss, on
procedural pairs.

The genotype is the published light one. After a search, tools/search.py puts the one that was found in its place.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_pairs.py', './_base_/fusers/tim_light.py', './_base_/fusers/tim_loss.py',
    './_base_/detectors/fcos_small.py', './_base_/schedules/warmup_cosine.py'
]
num_classes = 3

fuser = _base_.fuser
fuser.width = 16
detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(type='BilevelCoupling', fuser=fuser, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector), clamp=True)

image_size = (96, 128)
train_dataloader = dict(batch_size=8, dataset=dict(length=240, size=image_size))
val_dataloader = dict(dataset=dict(length=60, size=image_size))
test_dataloader = val_dataloader

# One optimizer for all, so that a JointCoupling trains by the same config.
train_cfg = dict(type='CouplingTrainLoop', max_epochs=6, val_interval=6)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
default_hooks = dict(visualization=dict(panel=True), logger=dict(interval=15))
