"""YOLOX-nano, from COCO, fine-tuned on crops of MSRS, for tools/downstream.py and the league; as it stands it trains on
the visible images alone.

The schedule is that of plain_conv_msrs_det.py, so that figures stand beside those of fusers that learn together with
the detector.
"""
_base_ = './average_msrs_det.py'
model = dict(fuser=dict(type='SourceFuser', source='first'))
