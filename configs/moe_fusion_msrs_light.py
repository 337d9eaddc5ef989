"""MoE-Fusion with YOLOX-nano, from COCO, on MSRS, for a machine without a GPU: crops, narrow fuser, light guide.

The recipe is that of plain_conv_msrs_det.py; fuser and guide, which begin at random, learn twice as fast.
"""
_base_ = [
    './_base_/datasets/msrs_det.py', './_base_/datasets/crops.py', './_base_/fusers/moe_fusion_light.py',
    './_base_/detectors/yolox_nano.py', './_base_/schedules/yolox_nano_12e.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
guide = _base_.guide
guide.detector.bbox_head.num_classes = num_classes

model = dict(
    type='JointCoupling',
    fuser=_base_.fuser,
    guide=guide,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector))

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=_base_.det_crops))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(fuser=dict(lr_mult=2.), guide=dict(lr_mult=2.))))
