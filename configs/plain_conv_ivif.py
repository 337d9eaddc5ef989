"""Plain convolutions around the brighter source that learn the stronger details of both, on pairs of four sets: small, fast, hard to beat."""
_base_ = ['./_base_/default_runtime.py', './_base_/datasets/ivif_pairs.py', './_base_/schedules/warmup_cosine.py']

fuser = dict(type='PlainConvFuser', width=8, layers=2, depth=3, rule='maximum')

# The two small terms keep noise and halos down.
fusion_loss = dict(
    pyramid=dict(type='PyramidFusionLoss', levels=5, base='max', gain=1.1, loss_weight=10.),
    learned=dict(type='LearnedFusionLoss', alpha=0.5, loss_weight=1.),
    ssim=dict(type='SSIMFusionLoss', target='both', loss_weight=0.5))
model = dict(type='FusionOnly', fuser=fuser, fusion_loss=fusion_loss)

train_cfg = dict(max_epochs=16, val_interval=16)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
