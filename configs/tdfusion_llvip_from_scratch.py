"""tdfusion_llvip.py as published: the detector starts from random weights."""
_base_ = './tdfusion_llvip.py'

model = dict(tasks=dict(det=dict(init_cfg=None)))
