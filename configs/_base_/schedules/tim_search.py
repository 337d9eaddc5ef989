"""Architecture search: 50 epochs, SGD with a cosine decay for the weights, Adam with betas 0.5 and 0.999 for the
architecture.

The betas are those of TIM's published search step; the rest is how its authors search elsewhere (LeSeFuse: SGD 1e-4,
Adam 1e-3, 50 epochs, batches of 4), with larger steps, fewer pairs in the batches of the architecture, and a first part
in which the weights learn alone. Ours. Base batch: 4 images.
"""
train_cfg = dict(type='SearchTrainLoop', max_epochs=50, upper_part=0.5, upper_batch_size=2, search_begin=6, search_interval=2, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    constructor='PartOptimWrapperConstructor',
    fuser=dict(optimizer=dict(type='SGD', lr=1e-2, momentum=0.9, weight_decay=3e-4), clip_grad=dict(max_norm=5)),
    architecture=dict(optimizer=dict(type='Adam', lr=3e-3, betas=(0.5, 0.999), weight_decay=1e-3)),
    tasks=dict(optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01), clip_grad=dict(max_norm=35)))
param_scheduler = dict(
    architecture=[],
    fuser=[dict(type='CosineAnnealingLR', eta_min_ratio=0.1, by_epoch=True, begin=0, convert_to_iter_based=True)],
    tasks=[dict(type='CosineAnnealingLR', eta_min_ratio=0.1, by_epoch=True, begin=0, convert_to_iter_based=True)])
auto_scale_lr = dict(enable=False, base_batch_size=4)
