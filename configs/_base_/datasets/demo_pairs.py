# Procedural pairs, nothing to download. Labels are boxes of person, car and lamp, and a class map (background, person,
# car, lamp).
dataset_type = 'DemoPairs'
image_size = (128, 160)

train_pipeline = [
    dict(type='LoadPair', color_type=dict(first='color', second='grayscale')),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [
    dict(type='LoadPair', color_type=dict(first='color', second='grayscale')),
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='PackFusionInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(type=dataset_type, length=400, size=image_size, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, length=100, size=image_size, split='test', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='mmdet.CocoMetric', metric='bbox'),
    dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area'),
]
test_evaluator = [*val_evaluator, dict(type='FusionMetric')]
