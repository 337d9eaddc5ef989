"""The demo: MoE-Fusion with RTMDet-tiny on procedural pairs, minutes on two CPU cores, nothing to download. Ends with mAP and fused pictures."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/demo_pairs.py', './_base_/fusers/moe_fusion_light.py', './_base_/detectors/rtmdet_tiny.py',
    './_base_/schedules/warmup_cosine.py'
]
num_classes = 3

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
guide = _base_.guide
guide.detector.bbox_head.num_classes = num_classes

model = dict(type='JointCoupling', fuser=_base_.fuser, guide=guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

# Sized for two CPU cores: the whole run, tests and pictures included, stays below six minutes.
train_cfg = dict(max_epochs=14, val_interval=14)
