"""TC-MoA on the test pairs of MEFB: multi-exposure fusion.

    tools/test.py configs/tc_moa_base_mefb.py CHECKPOINT

The checkpoint is one of tc_moa_base_3tasks.py; that config rates all three tasks, this one MEFB alone, with more
metrics.
"""
_base_ = ['./tc_moa_base_3tasks.py']

task = 'multi_exposure'
tasks = _base_.val_dataloader.dataset.fusion_tasks
val_dataloader = dict(dataset=dict(fusion_tasks=dict(_delete_=True, multi_exposure=tasks[task])))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric', fusion_task=task, metrics=['MEF_SSIM', 'QMI', 'QCV', 'QCB', 'Qabf', 'PSNR', 'EN', 'SD', 'VIF'])]
test_evaluator = val_evaluator
