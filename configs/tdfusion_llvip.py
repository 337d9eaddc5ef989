"""TDFusion on LLVIP with an anchor-free detector (RTMDet-s, from COCO).

Published schedule; the detector teaches the fusion loss.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/llvip_det.py', './_base_/fusers/refusion.py',
    './_base_/detectors/rtmdet_s_coco.py', './_base_/schedules/tdfusion_40e.py'
]
num_classes = 1

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(
    type='MetaCoupling',
    fuser=_base_.fuser,
    loss_generator=_base_.loss_generator,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector),
    crop_size=256,
    task_size=(256, 320))

# As published: the data set at full size, no augmentation but the exchange of the sources, one pair a batch.
image_size = (1280, 1024)
train_pipeline = [
    _base_.load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='Paired', transform=dict(type='mmdet.Resize', scale=image_size, keep_ratio=False), expand_grey=False),
    dict(type='PackFusionInputs'),
]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
