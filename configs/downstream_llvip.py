"""RTMDet-s, from COCO, on LLVIP, for tools/downstream.py; as it stands it trains on the visible images alone."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/llvip_det.py', './_base_/detectors/rtmdet_s_coco.py',
    './_base_/schedules/downstream_300e.py'
]
num_classes = 1

detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(type='JointCoupling', fuser=dict(type='SourceFuser', source='first'), tasks=dict(det=detector))

train_dataloader = dict(batch_size=8)
