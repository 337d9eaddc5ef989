"""moe_fusion_m3fd.py as published: the guide starts from ImageNet backbones, and RTMDet-s from random weights."""
_base_ = './moe_fusion_m3fd.py'

model = dict(tasks=dict(det=dict(init_cfg=None)), guide=dict(detector=dict(init_cfg=None)))
