"""MoE-Fusion on MSRS with YOLOX-nano, from COCO, and a light MobileNetV2 segmentor, from ImageNet, at once.

For a machine without a GPU: crops, narrow fuser, light guide, the recipe of plain_conv_msrs_det_seg.py.
"""
_base_ = [
    './_base_/datasets/msrs_det_seg.py', './_base_/datasets/crops.py', './_base_/fusers/moe_fusion_light.py',
    './_base_/detectors/yolox_nano.py', './_base_/segmentors/mobilenet_v2_light.py',
    './_base_/schedules/yolox_nano_12e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3
guide = _base_.guide
guide.detector.bbox_head.num_classes = 3
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = 9
segmentor.decode_head.loss_decode.update(class_weight=_base_.seg_class_weight, avg_non_ignore=False)

model = dict(
    type='JointCoupling',
    fuser=_base_.fuser,
    guide=guide,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor))

train_dataloader = dict(dataset=dict(pipeline=_base_.det_seg_crops))

# Fuser, guide and segmentor have further to go than the detector.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'fuser': dict(lr_mult=2.),
            'guide': dict(lr_mult=2.),
            'tasks.seg': dict(lr_mult=2.),
            'decode_head': dict(lr_mult=8.)
        }))
