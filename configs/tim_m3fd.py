"""TIM on M3FD with an anchor-free detector (RTMDet-s, from COCO).

The task loss guides the fuser over the optima of the fusion loss. Schedule ours.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/m3fd_det.py', './_base_/fusers/tim.py',
    './_base_/fusers/tim_loss.py', './_base_/detectors/rtmdet_s_coco.py', './_base_/schedules/tim_100e.py'
]
num_classes = 6

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(
    type='BilevelCoupling', fuser=_base_.fuser, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector), upper_weight=1.0, clamp=True)
