"""AdamW with a one-cycle rate, for short runs from scratch on small machines. Set ``max_epochs`` and ``total_steps`` together through
``train_cfg.max_epochs``: the scheduler reads its length from the epochs (``convert_to_iter_based``)."""
max_epochs = 20
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1.5e-3, pct_start=0.2, div_factor=10, final_div_factor=100, total_steps=max_epochs, by_epoch=True, convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
