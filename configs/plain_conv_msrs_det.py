"""A small color fuser and YOLOX-nano, from COCO, trained together on MSRS: crops around objects, cosine rate, averaged weights.

Start from the fuser that the untouched detector has taught: train configs/plain_conv_msrs_det_frozen.py first, then

    python tools/train.py configs/plain_conv_msrs_det.py --cfg-options load_from=work_dirs/plain_conv_msrs_det_frozen/epoch_7.pth

The cascade for comparison: model.detach=True.
"""
_base_ = [
    './_base_/datasets/msrs_det.py', './_base_/datasets/crops.py', './_base_/fusers/plain_conv.py', './_base_/detectors/yolox_nano.py',
    './_base_/schedules/yolox_nano_12e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3

model = dict(type='JointCoupling', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

train_dataloader = dict(dataset=dict(pipeline=_base_.det_crops))
