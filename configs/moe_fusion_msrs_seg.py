"""MoE-Fusion on MSRS with SegFormer-B0, from Cityscapes.

The schedule published for M3FD, and the segmentor's loss reaches the fuser.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_seg.py', './_base_/fusers/moe_fusion.py',
    './_base_/segmentors/segformer_b0_cityscapes.py', './_base_/schedules/moe_fusion_24e.py'
]
seg_classes = 9

segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes

# No boxes, so no detectors to guide the fuser, and the pixel loss asks for the brighter source everywhere.
model = dict(
    type='JointCoupling',
    fuser=_base_.fuser,
    fusion_loss=dict(grad=dict(type='SobelMaxLoss', loss_weight=10.), pixel=dict(type='MaxIntensityLoss')),
    tasks=dict(seg=segmentor))

# Three passes over the data count as one epoch, as published.
train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset=_base_.train_dataloader.dataset))
