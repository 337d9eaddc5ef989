"""downstream_msrs_seg.py with SegFormer-B0 from an ImageNet backbone, as TDFusion's downstream tables have it."""
_base_ = './downstream_msrs_seg.py'

model = dict(tasks=dict(seg=dict(init_cfg=None)))
