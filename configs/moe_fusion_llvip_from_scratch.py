"""moe_fusion_llvip.py as published: the guide starts from ImageNet backbones, and RTMDet-s from random weights."""
_base_ = './moe_fusion_llvip.py'

model = dict(tasks=dict(det=dict(init_cfg=None)), guide=dict(detector=dict(init_cfg=None)))
