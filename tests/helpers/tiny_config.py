"""A whole config, small enough to train in seconds: demo pairs of 64x64, a narrow MoE-Fusion, a narrow RTMDet."""

from pathlib import Path

CONFIGS = Path(__file__).parents[2] / 'configs'

TINY = f"""
_base_ = [
    '{CONFIGS}/_base_/default_runtime.py', '{CONFIGS}/_base_/datasets/demo_pairs.py', '{CONFIGS}/_base_/fusers/moe_fusion_light.py',
    '{CONFIGS}/_base_/detectors/rtmdet_tiny.py'
]
detector = _base_.detector
detector.backbone.update(widen_factor=0.125)
detector.neck.update(in_channels=[32, 64, 128], out_channels=32)
detector.bbox_head.update(in_channels=32, feat_channels=32, num_classes=3)
model = dict(
    type='JointCoupling',
    fuser=dict(type='MoEFusion', base_channels=4, expert_channels=4, decoder_channels=(8, 4), local_grid=(4, 4), global_grid=(4, 4)),
    fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))
train_dataloader = dict(batch_size=2, dataset=dict(length=4, size=(64, 64)))
val_dataloader = dict(batch_size=2, dataset=dict(length=2, size=(64, 64)))
test_dataloader = val_dataloader
val_evaluator = [dict(type='mmdet.VOCMetric', metric='mAP'), dict(type='FusionMetric', metrics=['EN', 'SD'])]
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=2)
param_scheduler = [dict(type='LinearLR', start_factor=0.5, begin=0, end=2, by_epoch=True)]
log_level = 'WARNING'
"""


def write_tiny_config(folder: Path, extra: str = '') -> Path:
    path = Path(folder) / 'tiny.py'
    path.write_text(TINY + extra)
    return path
