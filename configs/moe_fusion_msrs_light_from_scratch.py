"""MoE-Fusion with RTMDet-tiny on MSRS without pretrained weights, for a machine without a GPU.

Small crops, narrow fuser, light guide.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det.py', './_base_/datasets/small_crops.py',
    './_base_/fusers/moe_fusion_light.py', './_base_/detectors/rtmdet_tiny.py', './_base_/schedules/warmup_cosine.py'
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

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=_base_.small_crops))
val_dataloader = dict(dataset=dict(pipeline=_base_.small_test))
test_dataloader = val_dataloader
