"""A fuser for a detector that stays as it is: YOLOX-nano from COCO is untouched, and the fuser learns what feeds it.
MSRS.

checkpoints/yolox_nano_coco_mmdet.pth holds the detector; docs/en/task_networks.md says where from.
"""
_base_ = './plain_conv_msrs_det.py'
detector = dict(init_cfg=dict(if_absent='error'))  # random weights teach nothing
model = dict(frozen_tasks=('det', ), tasks=dict(det=detector))
