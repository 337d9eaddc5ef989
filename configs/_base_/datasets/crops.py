"""Training pipelines for small machines: crops around objects, out of images that are 320 to 768 pixels wide.

Most of a street scene is empty, and a small machine's time is better spent on the rest. Sizes are (width, height).
"""


def _crops(size, *labels):
    """Pipeline of crops of a size, with ``labels`` loaded beside the boxes."""
    resize = dict(type='mmdet.RandomResize', scale=(640, 480), ratio_range=(0.5, 1.2), keep_ratio=True)
    crop = dict(type='mmdet.RandomCrop', crop_size=size, allow_negative_crop=False)
    return [
        dict(type='LoadPair', color_type=dict(first='color', second='grayscale')),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        *labels,
        dict(type='Paired', transform=resize, expand_grey=False),
        dict(type='Paired', transform=crop, expand_grey=False),
        dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
        dict(type='PairPhotometric'),
        dict(type='PackFusionInputs'),
    ]


det_crops = _crops((320, 288))
det_seg_crops = _crops((192, 160), dict(type='LoadClassMap'))  # smaller, since two task networks cost twice
