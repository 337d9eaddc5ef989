"""TIM on MSRS for two CPU cores: two light networks guide the fuser that was published for its latency, narrower.

They are YOLOX-nano, from COCO, and a MobileNetV2 segmentor, from ImageNet. Data, crops and task networks are those of
tdfusion_msrs_light.py, the schedule that of plain_conv_msrs_det_seg.py.
"""
_base_ = [
    './_base_/datasets/msrs_det_seg.py', './_base_/datasets/crops.py', './_base_/fusers/tim_light.py',
    './_base_/fusers/tim_loss.py', './_base_/detectors/yolox_nano.py', './_base_/segmentors/mobilenet_v2_light.py',
    './_base_/schedules/yolox_nano_12e.py'
]
fuser = _base_.fuser
fuser.width = 16
detector = _base_.detector
detector.bbox_head.num_classes = 3
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = 9
segmentor.decode_head.loss_decode.update(class_weight=_base_.seg_class_weight, avg_non_ignore=False)

model = dict(
    type='BilevelCoupling',
    fuser=fuser,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor),
    upper_weight=1.0,
    clamp=True)

train_dataloader = dict(dataset=dict(pipeline=_base_.det_seg_crops))

# One optimizer for all, so that a JointCoupling (weighted sum, detached) trains by the same config.
train_cfg = dict(type='CouplingTrainLoop')
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'fuser': dict(lr_mult=4.),
            'tasks.seg': dict(lr_mult=2.),
            'decode_head': dict(lr_mult=8.)
        }))
