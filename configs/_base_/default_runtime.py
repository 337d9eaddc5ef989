"""Hooks, environment, logging and randomness that every run shares."""
default_scope = 'mmfusion'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='FusionVisualizationHook'))

# Yours to replace: what training depends on (the epoch told to losses and networks, random numbers by epoch, buffers
# averaged over processes, gradients clipped by part) is done by RuntimeInfoHook, which every runner has in the scope
# mmfusion.
custom_hooks = [dict(type='DataSplitHook')]
randomness = dict(seed=0)

env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl'))

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='FusionVisualizer', vis_backends=vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)

log_level = 'INFO'
load_from = None
resume = False

# A task of weight 0, a frozen guide or a fuser that nothing trains leaves parameters without a gradient.
find_unused_parameters = True
