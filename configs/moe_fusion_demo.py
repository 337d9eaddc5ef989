"""The demo: MoE-Fusion with a small FCOS on procedural pairs, minutes on two CPU cores, nothing to download. Ends with
mAP and fused pictures.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_pairs.py', './_base_/fusers/moe_fusion_light.py', './_base_/detectors/fcos_small.py',
    './_base_/schedules/warmup_cosine.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

# The guide's two detectors are the same at half the width.
small_guide = dict(
    type='TwoStreamGuide',
    in_channels=32,
    attention_channels=16,
    detector=dict(
        _base_.detector,
        backbone=dict(_base_.detector.backbone, stem_channels=8, base_channels=8),
        neck=dict(_base_.detector.neck, in_channels=[32], out_channels=32),
        bbox_head=dict(_base_.detector.bbox_head, in_channels=32, feat_channels=32)))

model = dict(type='JointCoupling', fuser=_base_.fuser, guide=small_guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

# Sized for two CPU cores: the whole run, test and pictures included, stays below six minutes.
train_cfg = dict(max_epochs=10, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
default_hooks = dict(visualization=dict(panel=True))
