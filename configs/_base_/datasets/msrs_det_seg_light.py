# MSRS with boxes and class maps for a small machine: images of 320x256, in training crops 192 wide and 160 high.
_base_ = './msrs_det_seg.py'
image_size = (320, 256)  # width, height

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
