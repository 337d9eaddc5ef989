"""TIM on MSRS for two CPU cores: a small FCOS and a small FCN guide the network that was published for its latency, narrower.

Data, crops and task networks are those of tdfusion_msrs_light.py.
"""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det_seg.py', './_base_/fusers/tim_light.py', './_base_/fusers/tim_loss.py',
    './_base_/detectors/fcos_small.py', './_base_/segmentors/fcn_small.py', './_base_/schedules/warmup_cosine.py'
]
num_classes = 3
seg_classes = 9
image_size = (320, 256)

fuser = _base_.fuser
fuser.width = 16
detector = _base_.detector
detector.bbox_head.num_classes = num_classes
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes
segmentor.decode_head.sampler = None
# Nine pixels of ten are background. mmseg's weighted loss leaves ignored pixels out by itself, and fails with avg_non_ignore.
segmentor.decode_head.loss_decode.update(class_weight=[0.2, 1., 2., 2., 3., 3., 3., 3., 3.], avg_non_ignore=False)

model = dict(
    type='BilevelCoupling',
    fuser=fuser,
    fusion_loss=_base_.fusion_loss,
    tasks=dict(det=detector, seg=segmentor),
    upper_weight=1.0,
    clamp=True)

# Small crops around objects: most of a street scene is empty, and a small machine's time is better spent on the rest.
resize = dict(type='mmdet.RandomResize', scale=image_size, ratio_range=(0.8, 1.25), keep_ratio=False)
crop = dict(type='mmdet.RandomCrop', crop_size=(192, 160), allow_negative_crop=False)
train_pipeline = [
    _base_.load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='LoadClassMap'),
    dict(type='Paired', transform=resize, expand_grey=False),
    dict(type='Paired', transform=crop, expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].transform.scale = image_size

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# One optimizer for all, so that a JointCoupling (weighted sum, detached) trains by the same config.
train_cfg = dict(type='CouplingTrainLoop', max_epochs=16, val_interval=8)
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3), clip_grad=dict(max_norm=35))
