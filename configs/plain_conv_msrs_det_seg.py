"""A small color fuser, YOLOX-nano from COCO and a light MobileNetV2 segmentor from ImageNet, trained together on MSRS.

The recipe of plain_conv_msrs_det.py with a second task, on smaller crops. What each task gains from the other:

    mmfusion verdict configs/plain_conv_msrs_det_seg.py --work-dir work_dirs/det_seg \\
        --rows detection_alone segmentation_alone joint
"""
_base_ = [
    './_base_/datasets/msrs_det_seg.py', './_base_/datasets/crops.py', './_base_/fusers/plain_conv.py',
    './_base_/detectors/yolox_nano.py', './_base_/segmentors/mobilenet_v2_light.py',
    './_base_/schedules/yolox_nano_12e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = 9
segmentor.decode_head.loss_decode.update(class_weight=_base_.seg_class_weight, avg_non_ignore=False)

model = dict(
    type='JointCoupling',
    fuser=_base_.fuser,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor))

train_dataloader = dict(dataset=dict(pipeline=_base_.det_seg_crops))

# The segmentor's head begins at random, and its backbone has seen no class maps: both have further to go.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={
        'tasks.seg': dict(lr_mult=2.),
        'decode_head': dict(lr_mult=8.)
    }))
