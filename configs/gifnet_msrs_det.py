"""GIFNet and YOLOX-nano, from COCO, trained together on MSRS."""
_base_ = './_base_/published/msrs_det.py'
model = dict(fuser=dict(type='GIFNet'))
