"""MoE-Fusion on M3FD with Faster R-CNN R50-FPN as task network, from COCO as its guide is; published schedule."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/m3fd_det.py', './_base_/fusers/moe_fusion_coco.py',
    './_base_/detectors/faster_rcnn_r50_fpn_coco.py', './_base_/schedules/moe_fusion_24e.py'
]
num_classes = 6

detector = _base_.detector
detector.roi_head.bbox_head.num_classes = num_classes
guide = _base_.guide
guide.detector.roi_head.bbox_head.num_classes = num_classes

model = dict(type='JointCoupling', fuser=_base_.fuser, guide=guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

train_dataloader = dict(batch_size=4, dataset=dict(_delete_=True, type='RepeatDataset', times=3, dataset=_base_.train_dataloader.dataset))
