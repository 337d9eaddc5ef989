"""A small color fuser and YOLOX-nano, from COCO, trained together on MSRS: crops around objects, cosine rate, averaged
weights.

The fuser starts from its rule and learns ten times faster than the detector, which stays near its COCO weights;
docs/en/results.md says what was tried. The cascade for comparison: model.detach=True. All rows, with intervals:

    mmfusion verdict configs/plain_conv_msrs_det.py --work-dir work_dirs/verdict_msrs --seeds 0 1 2
"""
_base_ = [
    './_base_/datasets/msrs_det.py', './_base_/datasets/crops.py', './_base_/fusers/plain_conv.py', './_base_/detectors/yolox_nano.py',
    './_base_/schedules/yolox_nano_12e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3
fuser, fusion_loss = _base_.fuser, _base_.fusion_loss  # more room for what serves the detector: streets turn green
fuser.change_weight = fusion_loss.pixel.criterion.loss_weight = fusion_loss.grad.criterion.loss_weight = 0.2

model = dict(type='JointCoupling', fuser=fuser, fusion_loss=fusion_loss, tasks=dict(det=detector))

train_dataloader = dict(dataset=dict(pipeline=_base_.det_crops))
optim_wrapper = dict(
    optimizer=dict(lr=2e-4),
    clip_grad=dict(max_norm=1),  # of each part by itself
    paramwise_cfg=dict(custom_keys={'fuser.': dict(lr_mult=10.)}))
