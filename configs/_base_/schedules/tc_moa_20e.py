"""Schedule of the official TC-MoA code: 20 epochs, AdamW 3e-4 (1.5e-4 in the paper) with warm-up over 2 epochs and
cosine decay to 1e-5.

Adapters alone learn, so the optimizer holds nothing else; only matrices and kernels decay. The rate is for 9 pairs a
step (3 processes of 3); a step sees one task. The official code runs in float16; BFloat16OptimWrapper does without a
loss scale.
"""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=2, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=9)
