"""MoE-Fusion on MSRS with a small FCOS and a small FCN at once, for a machine without a GPU: crops of images of 320x256, narrow fuser."""
_base_ = [
    './_base_/default_runtime.py', './_base_/datasets/msrs_det_seg.py', './_base_/fusers/moe_fusion_light.py', './_base_/detectors/fcos_small.py',
    './_base_/segmentors/fcn_small.py', './_base_/schedules/warmup_cosine.py'
]
num_classes = 3
seg_classes = 9
image_size = (320, 256)

detector = _base_.detector
detector.bbox_head.num_classes = num_classes
segmentor = _base_.segmentor
segmentor.decode_head.num_classes = seg_classes
guide = _base_.guide
guide.detector.bbox_head.num_classes = num_classes

model = dict(
    type='JointCoupling', fuser=_base_.fuser, guide=guide, fusion_loss=_base_.fusion_loss, tasks=dict(det=detector, seg=segmentor))

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
