"""Schedule of the official MoE-Fusion code: Adam 1e-4 with L2 1e-4, gradient norm clipped at 35, 24 epochs, x0.1 after
epochs 16 and 22.

Its data set is repeated three times an epoch; the configs of MoE-Fusion wrap theirs in a ``RepeatDataset``. Base batch:
4 images.
"""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=24, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',  # frozen networks stay out of the optimizer
    optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4), clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, begin=0, end=24, milestones=[16, 22], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=4)
