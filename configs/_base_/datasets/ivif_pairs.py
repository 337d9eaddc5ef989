# Infrared-visible pairs of four sets, for fusers that ship. Labels are not used, only luminance counts. The held-out
# pairs, with which weights are chosen, are every fifth of MSRS/train; RoadScene trains with its first 37 pairs by name
# and is tested with the others.
crop_size = (96, 96)  # height, width, in training only

load_pair = dict(type='LoadPair', color_type='grayscale')
train_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=crop_size, scale=(0.04, 0.4)), expand_grey=False),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PairPhotometric', gamma=(0.6, 1.7), contrast=(0.7, 1.3)),
    dict(type='PackFusionInputs'),
]
test_pipeline = [dict(type='LoadPair', color_type=dict(first='color', second='grayscale')), dict(type='PackFusionInputs')]

pair_folder = dict(type='PairFolderDataset', pipeline=train_pipeline)
msrs = dict(pair_folder, data_root='data/MSRS/train/', data_prefix=dict(first='vi', second='ir'))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(
        type='ConcatDataset',
        ignore_keys=['split_hash'],
        datasets=[
            dict(msrs, indices=[index for index in range(130) if index % 5]),
            dict(pair_folder, data_root='data/LLVIP/', data_prefix=dict(first='visible/train', second='infrared/train')),
            dict(pair_folder, data_root='data/FMB/', data_prefix=dict(first='Visible', second='Infrared')),
            dict(pair_folder, data_root='data/RoadScene/', data_prefix=dict(first='vi', second='ir'), indices=list(range(37))),
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(msrs, indices=list(range(0, 130, 5)), test_mode=True, pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        pair_folder,
        data_root='data/RoadScene/',
        data_prefix=dict(first='vi', second='ir'),
        indices=list(range(37, 56)),
        test_mode=True,
        pipeline=test_pipeline))

val_evaluator = [dict(type='FusionMetric', metrics=['EN', 'SD', 'MI', 'SCD', 'SSIM', 'Qabf'], protocol='cddfuse')]
test_evaluator = [dict(type='FusionMetric', protocol='cddfuse')]
