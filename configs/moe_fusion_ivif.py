"""A narrow MoE-Fusion without a guide under a fixed fusion loss, on pairs of four sets: the fuser that ships under the
name moe_fusion.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/ivif_pairs.py', './_base_/fusers/max_loss.py', './_base_/schedules/warmup_cosine.py'
]

# Gates that average see a whole picture of any size; those of moe_fusion_light.py read grid points. No guide: attention
# is 0.5 everywhere.
fuser = dict(
    type='MoEFusion',
    base_channels=8,
    expert_channels=8,
    decoder_channels=(16, 8),
    local_grid=(8, 10),
    global_grid=(4, 5),
    gate_pooling='average')

model = dict(type='FusionOnly', fuser=fuser, fusion_loss=_base_.max_loss)

train_cfg = dict(max_epochs=8, val_interval=8)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.), clip_grad=dict(max_norm=1.))
