"""TIM on MRI and CT, by its fusion loss alone. For PET and SPECT change the task and the fuser, see docs/en/tim.md.
Schedule and split ours.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/harvard.py', './_base_/fusers/tim_mri_ct.py', './_base_/fusers/tim_loss.py',
    './_base_/schedules/tim_100e.py'
]
model = dict(type='FusionOnly', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss)

optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
