"""tdfusion_m3fd.py as published: the detector starts from random weights."""
_base_ = './tdfusion_m3fd.py'

model = dict(tasks=dict(det=dict(init_cfg=None)))
