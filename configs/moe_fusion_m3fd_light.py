"""MoE-Fusion with RTMDet-tiny on M3FD, for a machine without a GPU: 256x192 pixels, narrow fuser, light guide, cosine rate."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/m3fd_det.py', './_base_/fusers/moe_fusion_light.py', './_base_/detectors/rtmdet_tiny.py',
    './_base_/schedules/warmup_cosine.py'
]
num_classes = 6
image_size = (256, 192)

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
guide = _base_.guide
guide.detector.bbox_head.num_classes = num_classes

model = dict(type='JointCoupling', fuser=_base_.fuser, guide=guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector))

enlarge = dict(type='mmdet.RandomResize', scale=image_size, ratio_range=(1.0, 1.5), keep_ratio=False)
crop = dict(type='mmdet.RandomCrop', crop_size=image_size[::-1], allow_negative_crop=True)
train_pipeline = [
    _base_.load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='Paired', transform=enlarge, expand_grey=False),
    dict(type='Paired', transform=crop, expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].transform.scale = image_size

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
