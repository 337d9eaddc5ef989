"""tdfusion_fmb.py as published: the segmentor starts from random weights."""
_base_ = './tdfusion_fmb.py'

model = dict(tasks=dict(seg=dict(init_cfg=None, backbone=dict(init_cfg=None))))
