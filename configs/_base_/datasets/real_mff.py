# Multi-focus pairs without labels, for training; see docs/en/data_preparation.md. Validation and test are those of
# MFIFB.
dataset_type = 'RealMFFDataset'
data_root = 'data/RealMFF/'
crop_size = (448, 448)  # height, width, in training only

load_pair = dict(type='LoadPair', color_type='auto')
train_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=crop_size, scale=(0.64, 1.0)), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [load_pair, dict(type='PackFusionInputs')]

train_dataloader = dict(
    batch_size=3,
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
    dataset=dict(type='MFIFBDataset', data_root='data/MFIFB/', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric', metrics=['QMI', 'QCB', 'QCV', 'Qabf', 'MI'])]
test_evaluator = val_evaluator
