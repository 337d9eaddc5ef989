"""A published fuser without labels: pairs of four sets, the loss and the schedule of the fusers that ship. Configs on
top name the fuser.
"""
_base_ = ['../default_runtime.py', '../datasets/ivif_pairs.py', '../fusers/max_loss.py', '../schedules/warmup_cosine.py']

model = dict(type='FusionOnly', fusion_loss=_base_.max_loss)

train_cfg = dict(max_epochs=14, val_interval=14)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
