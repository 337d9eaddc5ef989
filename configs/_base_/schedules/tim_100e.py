"""100 epochs for TIM, alone or with task networks: Adam 1e-4 for the fuser, AdamW 1e-4 for task networks, cosine decay.
Ours.

TIM's own schedule is not public; Adam 1e-4 over 100 epochs with batches of 4 is how its authors retrain searched
networks elsewhere (LeSeFuse).
"""
train_cfg = dict(type='CouplingTrainLoop', max_epochs=100, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    constructor='PartOptimWrapperConstructor',
    fuser=dict(optimizer=dict(type='Adam', lr=1e-4)),
    tasks=dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01), clip_grad=dict(max_norm=35)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=True, begin=0, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
