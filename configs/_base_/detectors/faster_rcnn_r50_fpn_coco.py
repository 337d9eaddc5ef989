"""Faster R-CNN with ResNet-50 and FPN from the COCO weights of mmdet's model zoo (37.4 mAP there), its classes by name.

Where their host cannot be reached, it starts as faster_rcnn_r50_fpn.py does, from an ImageNet backbone, and the log
says so. It always starts so with ``detector.init_cfg = None``.
"""
_base_ = './faster_rcnn_r50_fpn.py'

detector = dict(
    init_cfg=dict(
        type='mmfusion.PretrainedTask',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r50_fpn_1x_coco/'
        'faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth',
        if_absent='random'))
