"""Search for a TIM in minutes on two CPU cores: half of the procedural pairs for the weights, the other half for the
architecture.

A small FCOS beside it is the task that the architecture serves. Then train what was found: tools/search.py
configs/tim_demo_search.py --then configs/tim_demo.py does both.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_pairs.py', './_base_/fusers/tim_loss.py', './_base_/detectors/fcos_small.py',
    './_base_/schedules/tim_search.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(
    type='SearchCoupling',
    fuser=dict(type='SearchableTIM', width=8, cells=[dict(kind='chain', length=2), dict(kind='chain', length=2)]),
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector),
    upper='task',
    clamp=True)

image_size = (96, 128)
train_dataloader = dict(batch_size=4, dataset=dict(length=160, size=image_size))
val_dataloader = dict(dataset=dict(length=24, size=image_size))
test_dataloader = val_dataloader

# Few steps, so larger ones than in a long search.
train_cfg = dict(max_epochs=6, search_begin=2, val_interval=6)
optim_wrapper = dict(
    fuser=dict(optimizer=dict(_delete_=True, type='Adam', lr=2e-3)),
    architecture=dict(optimizer=dict(lr=5e-2)),
    tasks=dict(optimizer=dict(type='AdamW', lr=2e-3), clip_grad=dict(max_norm=35)))
custom_hooks = [*_base_.custom_hooks, dict(type='ArchitectureHook')]
default_hooks = dict(logger=dict(interval=10))
