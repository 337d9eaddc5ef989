# Infrared-visible, multi-exposure and multi-focus pairs as tasks of meta-learning; MRI and CT are held out of it, for
# adaptation and test.
crop_size = (96, 96)  # height, width, in training only

load_pair = dict(type='LoadPair', color_type='auto')
train_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='mmdet.RandomCrop', crop_size=crop_size), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [load_pair, dict(type='PackFusionInputs')]

pair_folder = dict(type='PairFolderDataset', data_prefix=dict(first='vi', second='ir'), pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='EpisodeBatchSampler', inner_steps=5, tasks_per_batch=2, batches_per_epoch=50),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(
        type='FusionTasksDataset',
        fusion_tasks=dict(
            street=dict(pair_folder, data_root='data/MSRS/train/'),
            road=dict(pair_folder, data_root='data/RoadScene/'),
            exposure=dict(type='MEFBDataset', data_root='data/MEFB/', pipeline=train_pipeline),
            focus=dict(type='MFIFBDataset', data_root='data/MFIFB/', pipeline=train_pipeline))))

held_out = dict(type='HarvardDataset', data_root='data/Harvard/', task='MRI_CT')
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(held_out, split='test', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric')]
test_evaluator = val_evaluator

# What tools/analysis_tools/adaptation_curves.py does; it rates the pairs of test_dataloader.
adaptation = dict(
    dataloader=dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(held_out, split='train', pipeline=train_pipeline)),
    optimizer=dict(type='Adam', lr=1e-3),
    points=(0, 1, 2, 5, 10, 20, 50, 100),
    metrics=('SSIM', 'Qabf', 'MI'))
