# Infrared-visible, multi-exposure and multi-focus pairs for one network; a batch is of one task. The sets, crops and
# batches of TC-MoA.
# Sources in order: visible and infrared, over- and underexposed, far and near in focus. See
# docs/en/data_preparation.md.
crop_size = (448, 448)  # height, width, in training only

load_pair = dict(type='LoadPair', color_type='auto')
flip_and_pack = [dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False), dict(type='PackFusionInputs')]
visible_infrared_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=crop_size, scale=(0.81, 1.0)), expand_grey=False), *flip_and_pack
]
multi_exposure_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=crop_size, scale=(0.2, 1.0)), expand_grey=False), *flip_and_pack
]
multi_focus_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='RandomResizedCrop', size=crop_size, scale=(0.64, 1.0)), expand_grey=False), *flip_and_pack
]
test_pipeline = [load_pair, dict(type='PackFusionInputs')]

llvip = dict(type='PairFolderDataset', data_root='data/LLVIP/')  # without the boxes of LLVIPDataset
train_dataloader = dict(
    batch_size=3,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='TaskBatchSampler', lead='visible_infrared'),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(
        type='FusionTasksDataset',
        fusion_tasks=dict(
            visible_infrared=dict(llvip, data_prefix=dict(first='visible/train', second='infrared/train'), pipeline=visible_infrared_pipeline),
            multi_exposure=dict(type='SCIEDataset', data_root='data/SCIE/', pipeline=multi_exposure_pipeline),
            multi_focus=[
                dict(type='RealMFFDataset', data_root='data/RealMFF/', pipeline=multi_focus_pipeline),
                dict(type='MFIWHUDataset', data_root='data/MFI-WHU/', pipeline=multi_focus_pipeline)
            ])))
val_dataloader = dict(
    batch_size=1,  # sizes differ, and the tasks follow each other
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FusionTasksDataset',
        fusion_tasks=dict(
            visible_infrared=dict(
                llvip, data_prefix=dict(first='visible/test', second='infrared/test'), test_mode=True, pipeline=test_pipeline),
            multi_exposure=dict(type='MEFBDataset', data_root='data/MEFB/', test_mode=True, pipeline=test_pipeline),
            multi_focus=dict(type='MFIFBDataset', data_root='data/MFIFB/', test_mode=True, pipeline=test_pipeline))))
test_dataloader = val_dataloader

# One for each task, with the metrics of its field.
val_evaluator = [
    dict(type='FusionMetric', fusion_task='visible_infrared', metrics=['EN', 'SD', 'MI', 'VIF', 'Qabf', 'SSIM', 'QCV']),
    dict(type='FusionMetric', fusion_task='multi_exposure', metrics=['MEF_SSIM', 'QCV', 'Qabf', 'PSNR', 'EN']),
    dict(type='FusionMetric', fusion_task='multi_focus', metrics=['QMI', 'QCB', 'QCV', 'Qabf', 'MI']),
]
test_evaluator = val_evaluator
