"""Plain convolutions around the brighter source, under a fixed fusion loss on pairs of four sets: small, fast, and hard to beat."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/ivif_pairs.py', './_base_/fusers/max_loss.py', './_base_/schedules/warmup_cosine.py'
]

fuser = dict(type='PlainConvFuser', width=8, layers=2, depth=2, rule='maximum')

model = dict(type='FusionOnly', fuser=fuser, fusion_loss=_base_.max_loss)

train_cfg = dict(max_epochs=12, val_interval=12)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
