"""GIFNet under a loss that a frozen YOLOX-nano, from COCO, teaches on MSRS."""
_base_ = './_base_/published/msrs_det_meta.py'
model = dict(fuser=dict(type='GIFNet'))
