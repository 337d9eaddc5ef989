"""MoE-Fusion on MSRS beside SegFormer-B0, whose gradient stops at the fused image: the control for
moe_fusion_msrs_seg.py.
"""
_base_ = './moe_fusion_msrs_seg.py'

model = dict(detach=True)
