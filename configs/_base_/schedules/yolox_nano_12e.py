"""Runtime and schedule for a YOLOX-nano that starts from COCO, and what is trained with it: 12 epochs of AdamW with a
warm-up and a cosine decay.

The last layers of the detector, whose classes are new, learn twice as fast. Tested and stored are averaged weights.
"""
_base_ = ['../default_runtime.py', './warmup_cosine.py']

train_cfg = dict(max_epochs=12, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4, weight_decay=1e-3),
    paramwise_cfg=dict(custom_keys={'multi_level_conv_': dict(lr_mult=2.)}))
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', ema_type='mmdet.ExpMomentumEMA', momentum=0.002, gamma=100, update_buffers=True)]
