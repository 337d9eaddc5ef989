"""YOLOX-nano, from COCO, on the mean of the sources of MSRS: what a fixed rule gives, untouched and fine-tuned.

    python tools/test.py configs/average_msrs_det.py checkpoints/yolox_nano_coco_mmdet.pth    # untouched
    python tools/train.py configs/average_msrs_det.py                                         # fine-tuned

Another rule: --cfg-options model.fuser.type=MaximumFuser; one source: model.fuser.type=SourceFuser model.fuser.source=second.
"""
_base_ = ['./_base_/default_runtime.py', './_base_/datasets/msrs_det.py', './_base_/detectors/yolox_nano.py', './_base_/schedules/warmup_cosine.py']
detector = _base_.detector
detector.bbox_head.num_classes = 3

model = dict(type='JointCoupling', fuser=dict(type='AverageFuser'), tasks=dict(det=detector))
