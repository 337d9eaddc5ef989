"""A Laplacian pyramid and what a small U of plain convolutions adds to it, on pairs of four sets: small, fast, hard to
beat.
"""
_base_ = ['./_base_/default_runtime.py', './_base_/datasets/ivif_pairs.py', './_base_/schedules/warmup_cosine.py']

fuser = dict(type='PlainConvFuser', width=8, layers=2, depth=3, rule='pyramid')

# The rule has the stronger details of both sources already. The network raises them a little where that costs no
# likeness to the sources.
fusion_loss = dict(
    pyramid=dict(type='PyramidFusionLoss', levels=5, base='max', gain=1.15, loss_weight=5.),
    ssim=dict(type='SSIMFusionLoss', target='both', loss_weight=1.))
model = dict(type='FusionOnly', fuser=fuser, fusion_loss=fusion_loss)

train_cfg = dict(max_epochs=10, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
