"""TDFusion on MSRS for two CPU cores: a small FCOS and a small FCN, without pretrained weights, teach the loss.

The fuser is a narrow ReFusion; crops of 192x160 of images of 320x256.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det_seg_light.py', './_base_/fusers/refusion_light.py', './_base_/detectors/fcos_small.py',
    './_base_/segmentors/fcn_small.py', './_base_/schedules/tdfusion_40e.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
segmentor = _base_.segmentor
segmentor.decode_head.update(num_classes=9, sampler=None)
segmentor.decode_head.loss_decode.update(class_weight=_base_.seg_class_weight, avg_non_ignore=False)

model = dict(
    type='MetaCoupling',
    fuser=_base_.fuser,
    loss_generator=_base_.loss_generator,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor),
    crop_size=None,
    swap=False)  # copies with exchanged sources would double the time of a step

# Few steps, so larger ones than published, with a warm-up and a cosine decay.
train_cfg = dict(max_epochs=16, meta_steps=8, val_interval=8)
optim_wrapper = dict(fuser=dict(optimizer=dict(lr=2e-3)), tasks=dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=35)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=True, begin=0, convert_to_iter_based=True),
]
custom_hooks = [*_base_.custom_hooks, dict(type='LossWeightVisualizationHook', interval=8)]
