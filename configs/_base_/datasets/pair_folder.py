# Two folders of registered images without labels: give data_root and the two folders. Images are tested at their own
# size.
dataset_type = 'PairFolderDataset'
data_root = 'data/RoadScene/'
data_prefix = dict(first='vi', second='ir')
image_size = (640, 480)  # width, height, in training only

load_pair = dict(type='LoadPair', color_type='auto')
train_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='mmdet.Resize', scale=image_size, keep_ratio=False), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [load_pair, dict(type='PackFusionInputs')]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(type=dataset_type, data_root=data_root, data_prefix=data_prefix, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, data_prefix=data_prefix, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric')]
test_evaluator = val_evaluator
