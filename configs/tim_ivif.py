"""The light TIM, narrower, under a fixed fusion loss on pairs of four sets: the fuser that ships under the name tim."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/ivif_pairs.py', './_base_/fusers/tim_light.py', './_base_/fusers/max_loss.py',
    './_base_/schedules/warmup_cosine.py'
]

fuser = _base_.fuser
fuser.width = 16

model = dict(type='FusionOnly', fuser=fuser, fusion_loss=_base_.max_loss)

train_cfg = dict(max_epochs=14, val_interval=14)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
