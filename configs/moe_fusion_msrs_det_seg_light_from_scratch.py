"""MoE-Fusion on MSRS with a small FCOS and a small FCN at once, without pretrained weights.

For a machine without a GPU: crops of images of 320x256, narrow fuser.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det_seg_light.py', './_base_/fusers/moe_fusion_light.py',
    './_base_/detectors/fcos_small.py', './_base_/segmentors/fcn_small.py', './_base_/schedules/warmup_cosine.py'
]
num_classes = 3
seg_classes = 9

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes
guide = _base_.guide
guide.detector.bbox_head.num_classes = num_classes

model = dict(
    type='JointCoupling', fuser=_base_.fuser, guide=guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector, seg=segmentor))
