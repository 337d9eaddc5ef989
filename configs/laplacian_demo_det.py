"""A small FCOS on rendered pairs that a Laplacian pyramid fuses, in minutes on two CPU cores: a detector whose truth is
exact to the pixel.

For measurements of what a fault of the sources costs a detector, as benchmarks/registration_recovery.py makes of a
shift.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_pairs.py', './_base_/detectors/fcos_small.py', './_base_/schedules/warmup_cosine.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3

model = dict(type='JointCoupling', fuser=dict(type='LaplacianPyramidFuser'), tasks=dict(det=detector))

image_size = (240, 320)
train_dataloader = dict(batch_size=8, dataset=dict(length=400, size=image_size))
val_dataloader = dict(dataset=dict(length=60, size=image_size))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=6, val_interval=6)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
