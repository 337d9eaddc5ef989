"""MoE-Fusion as published but for the start of its guide: COCO weights of mmdet's model zoo, their classes by name.

As published, the guide starts from ImageNet backbones: moe_fusion.py, or ``guide.detector.init_cfg = None``. That is
also what happens where the host of the weights cannot be reached, and the log says so.
"""
_base_ = './moe_fusion.py'

guide = dict(
    detector=dict(
        init_cfg=dict(
            type='mmfusion.PretrainedTask',
            checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
            'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth',
            if_absent='random')))
