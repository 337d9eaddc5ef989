"""A published fuser and YOLOX-nano, from COCO, trained together on crops of MSRS: the fuser learns from its loss and
from the detector's.
"""
_base_ = [
    '../datasets/msrs_det.py', '../datasets/crops.py', '../fusers/max_loss.py', '../detectors/yolox_nano.py',
    '../schedules/yolox_nano_12e.py'
]
detector = _base_.detector
detector.bbox_head.num_classes = 3

model = dict(type='JointCoupling', fusion_loss=_base_.max_loss, tasks=dict(det=detector))

train_dataloader = dict(dataset=dict(pipeline=_base_.det_crops))
optim_wrapper = dict(clip_grad=dict(max_norm=1))  # of each part by itself
