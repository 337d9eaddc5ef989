# LLVIP in its official layout and split; see docs/en/data_preparation.md.
dataset_type = 'LLVIPDataset'
data_root = 'data/LLVIP/'
image_size = (640, 480)  # width, height

load_pair = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
resize = dict(type='Paired', transform=dict(type='mmdet.Resize', scale=image_size, keep_ratio=False), expand_grey=False)
train_pipeline = [
    load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    resize,
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [
    load_pair,
    resize,
    # after the resize: metrics compare in pixels of the original image
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='PackFusionInputs'),
]

train_dataloader = dict(
    batch_size=2,
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

val_evaluator = [
    dict(type='mmdet.CocoMetric', metric='bbox'),
    dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area'),
]
test_evaluator = [*val_evaluator, dict(type='FusionMetric')]
