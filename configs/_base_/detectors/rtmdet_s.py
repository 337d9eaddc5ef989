"""RTMDet-s (arXiv 2212.07784), 8.9 M parameters."""
_base_ = './rtmdet_tiny.py'

detector = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5),
    neck=dict(in_channels=[128, 256, 512], out_channels=128, num_csp_blocks=1),
    bbox_head=dict(in_channels=128, feat_channels=128))
