# Multi-exposure pairs without labels; see docs/en/data_preparation.md. A benchmark for tests: training on it is for
# trials.
dataset_type = 'MEFBDataset'
data_root = 'data/MEFB/'
crop_size = (128, 128)  # height, width, in training only

load_pair = dict(type='LoadPair', color_type='auto')
train_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='mmdet.RandomCrop', crop_size=crop_size), expand_grey=False),
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
    dataset=dict(type=dataset_type, data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric')]
test_evaluator = [dict(type='FusionMetric', metrics=['all'])]
