"""Schedule of the official TDFusion code: 40 epochs of 200 meta steps and one pass, Adam 1e-4 for every part, x0.1
after every 10 epochs.

One pair a batch, which the coupling doubles with exchanged sources. The loss generation module has no optimizer of its
own: its step is normalized and as long as the fuser's learning rate.
"""
train_cfg = dict(type='MetaTrainLoop', max_epochs=40, meta_steps=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    constructor='PartOptimWrapperConstructor',
    fuser=dict(optimizer=dict(type='Adam', lr=1e-4)),
    tasks=dict(optimizer=dict(type='Adam', lr=1e-4)))
param_scheduler = [dict(type='StepLR', by_epoch=True, step_size=10, gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=1)
