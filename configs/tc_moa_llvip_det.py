"""TC-MoA on LLVIP with RTMDet-s, from COCO: the detector's loss reaches the adapters, and nothing else of the fuser.

    tools/train.py configs/tc_moa_llvip_det.py --cfg-options model.fuser.mae=mae_visualize_vit_base.pth
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/llvip_det.py', './_base_/fusers/tc_moa.py',
    './_base_/fusers/tc_moa_loss.py', './_base_/detectors/rtmdet_s_coco.py', './_base_/schedules/tc_moa_20e.py'
]
num_classes = 1

fusion_loss = _base_.fusion_loss
fusion_loss.task.default = 'visible_infrared'
detector = _base_.detector
detector.bbox_head.num_classes = num_classes

model = dict(type='JointCoupling', fuser=_base_.fuser, fusion_loss=fusion_loss, tasks=dict(det=detector))

train_dataloader = dict(batch_size=3)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
