# FMB with class maps; see docs/en/segmentation.md. The mean is over 15 classes, number 0 among them.
dataset_type = 'FMBDataset'
data_root = 'data/FMB/'
image_size = (800, 600)  # width, height

load_pair = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
resize = dict(type='Paired', transform=dict(type='mmdet.Resize', scale=image_size, keep_ratio=False), expand_grey=False)
train_pipeline = [
    load_pair,
    dict(type='LoadClassMap'),
    resize,
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [
    load_pair,
    resize,
    dict(type='LoadClassMap'),  # after the resize: metrics compare at the size of the original image
    dict(type='PackFusionInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='SegIoUMetric')]
test_evaluator = [*val_evaluator, dict(type='FusionMetric')]
