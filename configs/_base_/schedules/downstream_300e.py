"""Task networks on stored fused images: AdamW 1e-4 with decay 0.01, warm-up and cosine decay over 300 epochs. Base
batch: 8 images.

The length and the optimizer of the segmentors are those that TDFusion reports for its downstream tables.
"""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=30)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen networks stay out of the optimizer
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01), clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=True, begin=0, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
