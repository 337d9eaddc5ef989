"""TC-MoA on the test pairs of LLVIP: infrared-visible fusion.

    tools/test.py configs/tc_moa_base_llvip.py CHECKPOINT

The checkpoint is one of tc_moa_base_3tasks.py; that config rates all three tasks, this one LLVIP alone, with more
metrics.
"""
_base_ = ['./tc_moa_base_3tasks.py']

task = 'visible_infrared'
tasks = _base_.val_dataloader.dataset.fusion_tasks
val_dataloader = dict(dataset=dict(fusion_tasks=dict(_delete_=True, visible_infrared=tasks[task])))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric', fusion_task=task, metrics=['EN', 'SD', 'SF', 'MI', 'SCD', 'VIF', 'Qabf', 'SSIM', 'MS_SSIM', 'QCV', 'QW'])]
test_evaluator = val_evaluator
