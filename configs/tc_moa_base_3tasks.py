"""TC-MoA on the base masked autoencoder: one model for infrared-visible, multi-exposure and multi-focus fusion,
schedule as published.

    tools/train.py configs/tc_moa_base_3tasks.py --cfg-options model.fuser.mae=mae_visualize_vit_base.pth
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/three_tasks.py', './_base_/fusers/tc_moa.py', './_base_/fusers/tc_moa_loss.py',
    './_base_/schedules/tc_moa_20e.py'
]

model = dict(type='FusionOnly', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss)
