"""MoE-Fusion on LLVIP with RTMDet-s, from COCO as its guide is.

Published schedule, and the detector's loss reaches the fuser.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/llvip_det.py', './_base_/fusers/moe_fusion_coco.py',
    './_base_/detectors/rtmdet_s_coco.py', './_base_/schedules/moe_fusion_24e.py'
]
num_classes = 1

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
guide = _base_.guide
guide.detector.roi_head.bbox_head.num_classes = num_classes

model = dict(type='JointCoupling', fuser=_base_.fuser, guide=guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

# Three passes over the data count as one epoch, as published.
train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset=_base_.train_dataloader.dataset))
