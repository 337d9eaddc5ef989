"""A narrow ReFusion under a fixed fusion loss on pairs of four sets: the start of tdfusion_ivif.py, and a fuser by
itself.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/ivif_pairs.py', './_base_/fusers/refusion_light.py',
    './_base_/schedules/warmup_cosine.py'
]

fusion_loss = dict(
    pixel=dict(type='MaxIntensityLoss', loss_weight=5.),
    learned=dict(type='LearnedFusionLoss', alpha=0.4, loss_weight=5.),
    ssim=dict(type='SSIMFusionLoss', target='both', loss_weight=1.))
model = dict(type='FusionOnly', fuser=_base_.fuser, fusion_loss=fusion_loss)

train_cfg = dict(max_epochs=24, val_interval=24)
optim_wrapper = dict(optimizer=dict(lr=3e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
