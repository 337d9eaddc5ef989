"""TIM on MSRS for two CPU cores: a small FCOS and a small FCN, without pretrained weights, guide the fuser.

That is the network that was published for its latency, narrower.
Data, crops and task networks are those of tdfusion_msrs_light_from_scratch.py.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det_seg_light.py', './_base_/fusers/tim_light.py', './_base_/fusers/tim_loss.py',
    './_base_/detectors/fcos_small.py', './_base_/segmentors/fcn_small.py', './_base_/schedules/warmup_cosine.py'
]
num_classes = 3

fuser = _base_.fuser
fuser.width = 16
detector = _base_.detector
detector.bbox_head.num_classes = num_classes
segmentor = _base_.segmentor
segmentor.decode_head.update(num_classes=9, sampler=None)
segmentor.decode_head.loss_decode.update(class_weight=_base_.seg_class_weight, avg_non_ignore=False)

model = dict(
    type='BilevelCoupling',
    fuser=fuser,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor),
    upper_weight=1.0,
    clamp=True)

# One optimizer for all, so that a JointCoupling (weighted sum, detached) trains by the same config.
train_cfg = dict(type='CouplingTrainLoop', max_epochs=16, val_interval=8)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=35))
