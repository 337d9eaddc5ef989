# MSRS with YOLO text boxes and class maps, for a detector and a segmentor at once; see docs/en/segmentation.md.
dataset_type = 'MSRSDetDataset'
data_root = 'data/MSRS/'
seg_dir = 'Segmentation_labels'  # below data/MSRS/train and data/MSRS/test
image_size = (640, 480)  # width, height

# Nine pixels of ten are background: weights of the classes for short trainings. mmseg's weighted loss leaves ignored
# pixels out by itself, and fails with avg_non_ignore.
seg_class_weight = [0.2, 1., 2., 2., 3., 3., 3., 3., 3.]

load_pair = dict(type='LoadPair', color_type=dict(first='color', second='grayscale'))
resize = dict(type='Paired', transform=dict(type='mmdet.Resize', scale=image_size, keep_ratio=False), expand_grey=False)
train_pipeline = [
    load_pair,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='LoadClassMap'),
    resize,
    dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5), expand_grey=False),
    dict(type='PackFusionInputs'),
]
test_pipeline = [
    load_pair,
    resize,
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='LoadClassMap'),  # after the resize: metrics compare at the size of the original image
    dict(type='PackFusionInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    worker_init_fn=dict(type='seed_worker'),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', seg_dir=seg_dir, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', seg_dir=seg_dir, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='mmdet.CocoMetric', metric='bbox'),
    dict(type='mmdet.VOCMetric', metric='mAP', iou_thrs=0.5, eval_mode='area'),
    dict(type='SegIoUMetric'),
]
test_evaluator = [*val_evaluator, dict(type='FusionMetric')]
