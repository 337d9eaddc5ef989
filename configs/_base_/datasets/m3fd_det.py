# M3FD in its official layout. There is no official split: make the id lists with tools/dataset_converters/m3fd_split.py.
dataset_type = 'M3FDDataset'
data_root = 'data/M3FD/'
image_size = (640, 480)  # width, height

load_pair = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
resize = dict(type='Paired', transform=dict(type='mmdet.Resize', scale=image_size, keep_ratio=False), expand_grey=False)
train_pipeline = [
    load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    resize,
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [
    load_pair,
    resize,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),  # after the resize: metrics compare in pixels of the original image
    dict(type='PackFusionInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='splits/train.txt', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='splits/val.txt', test_mode=True, pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, ann_file='splits/test.txt', test_mode=True, pipeline=test_pipeline))

val_evaluator = [
    dict(type='mmdet.CocoMetric', metric='bbox'),
    dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area'),
]
test_evaluator = [*val_evaluator, dict(type='FusionMetric')]
