"""TIM on FMB with SegFormer-B0, from Cityscapes.

The task loss guides the fuser over the optima of the fusion loss. Schedule ours.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/fmb_seg.py', './_base_/fusers/tim.py',
    './_base_/fusers/tim_loss.py', './_base_/segmentors/segformer_b0_cityscapes.py', './_base_/schedules/tim_100e.py'
]
seg_classes = 15

segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes

model = dict(
    type='BilevelCoupling', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss, tasks=dict(seg=segmentor), upper_weight=1.0, clamp=True)

train_dataloader = dict(batch_size=2)
