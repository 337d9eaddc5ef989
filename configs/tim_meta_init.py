"""Pretext meta-initialization of a narrow TIM for two CPU cores: Reptile over infrared-visible, multi-exposure and
multi-focus pairs. Ours.

MRI and CT are held out: tools/analysis_tools/adaptation_curves.py measures how fast the result learns them. For fomaml
set model.algorithm and an inner rate; for the control (plain training on all tasks) set algorithm='fomaml' and both
inner_steps to 0.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/fusion_tasks.py', './_base_/fusers/tim_light.py', './_base_/fusers/tim_loss.py'
]
inner_steps = 5
max_epochs = 4

fuser = _base_.fuser
fuser.width = 16

model = dict(
    type='MetaInitCoupling',
    fuser=fuser,
    fusion_loss=_base_.fusion_loss,
    algorithm='reptile',
    inner_steps=inner_steps,
    inner_optimizer=dict(type='Adam', lr=2e-3, betas=(0.0, 0.999)))  # without momentum: an episode is too short for it

train_dataloader = dict(batch_sampler=dict(inner_steps=inner_steps, batches_per_epoch=50))

# The outer step of Reptile is a share of the way to the weights after an episode, falling to 0.
train_cfg = dict(type='MetaInitLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min_ratio=0.1, by_epoch=True, begin=0, convert_to_iter_based=True)]
default_hooks = dict(logger=dict(interval=10))
