"""TC-MoA in minutes on two CPU cores: a tiny network, all of it trained from scratch, on three procedural tasks."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_three_tasks.py', './_base_/fusers/tc_moa_tiny.py', './_base_/fusers/tc_moa_loss.py',
    './_base_/schedules/warmup_cosine.py'
]

model = dict(type='FusionOnly', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss)

train_cfg = dict(max_epochs=6, val_interval=6)
optim_wrapper = dict(constructor='TrainableOptimWrapperConstructor', optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=10))
# pictures of all three tasks
default_hooks = dict(visualization=dict(panel=True, interval=10), logger=dict(interval=15))
