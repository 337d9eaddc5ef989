# Three procedural fusion tasks, nothing to download: infrared-visible, multi-exposure and multi-focus pairs. A batch is
# of one task.
image_size = (112, 112)  # height, width

load_pair = dict(type='LoadPair', color_type='auto')
train_pipeline = [
    load_pair,
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [load_pair, dict(type='PackFusionInputs')]

train_pairs = dict(length=120, size=image_size, split='train', pipeline=train_pipeline)
test_pairs = dict(length=20, size=image_size, split='test', test_mode=True, pipeline=test_pipeline)

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='TaskBatchSampler', lead='visible_infrared', drop_last=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(
        type='FusionTasksDataset',
        fusion_tasks=dict(
            visible_infrared=dict(type='DemoPairs', **train_pairs),
            multi_exposure=dict(type='DemoExposurePairs', **train_pairs),
            multi_focus=dict(type='DemoFocusPairs', **train_pairs))))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='FusionTasksDataset',
        fusion_tasks=dict(
            visible_infrared=dict(type='DemoPairs', **test_pairs),
            multi_exposure=dict(type='DemoExposurePairs', **test_pairs),
            multi_focus=dict(type='DemoFocusPairs', **test_pairs))))
test_dataloader = val_dataloader

# One for each task, with the metrics of its field.
val_evaluator = [
    dict(type='FusionMetric', fusion_task='visible_infrared', metrics=['EN', 'SD', 'MI', 'VIF', 'Qabf', 'SSIM', 'QCV']),
    dict(type='FusionMetric', fusion_task='multi_exposure', metrics=['MEF_SSIM', 'QCV', 'Qabf', 'PSNR', 'EN']),
    dict(type='FusionMetric', fusion_task='multi_focus', metrics=['QMI', 'QCB', 'QCV', 'Qabf', 'MI']),
]
test_evaluator = val_evaluator
