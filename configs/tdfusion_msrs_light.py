"""TDFusion on MSRS for two CPU cores: two light networks teach the loss of a narrow ReFusion, on crops of 192x160.

They are YOLOX-nano, from COCO, and a MobileNetV2 segmentor, from ImageNet.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det_seg.py', './_base_/datasets/crops.py',
    './_base_/fusers/refusion_light.py', './_base_/detectors/yolox_nano.py',
    './_base_/segmentors/mobilenet_v2_light.py', './_base_/schedules/tdfusion_40e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = 9
segmentor.decode_head.loss_decode.update(class_weight=_base_.seg_class_weight, avg_non_ignore=False)

model = dict(
    type='MetaCoupling',
    fuser=_base_.fuser,
    loss_generator=_base_.loss_generator,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor),
    crop_size=None,
    swap=False)  # copies with exchanged sources would double the time of a step

train_dataloader = dict(dataset=dict(pipeline=_base_.det_seg_crops))

# Few steps, so larger ones than published, with a warm-up and a cosine decay; smaller ones for what is pretrained.
train_cfg = dict(max_epochs=16, meta_steps=8, val_interval=8)
optim_wrapper = dict(
    fuser=dict(optimizer=dict(lr=2e-3)),
    tasks=dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=35)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=True, begin=0, convert_to_iter_based=True),
]
custom_hooks = [*_base_.custom_hooks, dict(type='LossWeightVisualizationHook', interval=8)]
