"""RTMDet-tiny from the COCO weights of mmdet's model zoo (40.9 mAP there), its classes by name.

Where their host cannot be reached, it starts as rtmdet_tiny.py does, from random weights, and the log says so. It
always starts so with ``detector.init_cfg = None``.
"""
_base_ = './rtmdet_tiny.py'

detector = dict(
    init_cfg=dict(
        type='mmfusion.PretrainedTask',
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_tiny_8xb32-300e_coco/'
        'rtmdet_tiny_8xb32-300e_coco_20220902_112414-78e30dcc.pth',
        if_absent='random'))
