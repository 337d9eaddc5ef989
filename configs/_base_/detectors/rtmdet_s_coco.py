"""RTMDet-s from the COCO weights of mmdet's model zoo (44.5 mAP there), its classes by name.

Where their host cannot be reached, it starts as rtmdet_s.py does, from random weights, and the log says so. It always
starts so with ``detector.init_cfg = None``.
"""
_base_ = './rtmdet_s.py'

detector = dict(
    init_cfg=dict(
        type='mmfusion.PretrainedTask',
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_s_8xb32-300e_coco/'
        'rtmdet_s_8xb32-300e_coco_20220905_161602-387a891e.pth',
        if_absent='random'))
