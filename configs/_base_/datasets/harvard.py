# Medical pairs without labels; see docs/en/data_preparation.md. harvard_task: MRI_CT, MRI_PET or MRI_SPECT. The split
# is ours.
dataset_type = 'HarvardDataset'
data_root = 'data/Harvard/'
harvard_task = 'MRI_CT'
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
    dataset=dict(type=dataset_type, data_root=data_root, task=harvard_task, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, task=harvard_task, split='test', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric')]
test_evaluator = [dict(type='FusionMetric', metrics=['all'])]
