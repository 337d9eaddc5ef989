"""Pipelines for light detectors that learn from scratch: images of 320x256, in training crops 160 wide and 192 high."""
_load_pair = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
_boxes = dict(type='mmdet.LoadAnnotations', with_bbox=True)
_size = (320, 256)  # width, height
_random_size = dict(type='mmdet.RandomResize', scale=_size, ratio_range=(0.8, 1.25), keep_ratio=False)
_size_of_all = dict(type='mmdet.Resize', scale=_size, keep_ratio=False)
_crop = dict(type='mmdet.RandomCrop', crop_size=(160, 192), allow_negative_crop=False)

small_crops = [
    _load_pair,
    _boxes,
    dict(type='Paired', transform=_random_size, expand_grey=False),
    dict(type='Paired', transform=_crop, expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
small_test = [
    _load_pair,
    dict(type='Paired', transform=_size_of_all, expand_grey=False),
    _boxes,  # after the resize: metrics compare in pixels of the original image
    dict(type='PackFusionInputs'),
]
