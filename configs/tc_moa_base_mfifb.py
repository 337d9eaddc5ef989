"""TC-MoA on the test pairs of MFIFB: multi-focus fusion.

    tools/test.py configs/tc_moa_base_mfifb.py CHECKPOINT

The checkpoint is one of tc_moa_base_3tasks.py; that config rates all three tasks, this one MFIFB alone, with more
metrics.
"""
_base_ = ['./tc_moa_base_3tasks.py']

task = 'multi_focus'
tasks = _base_.val_dataloader.dataset.fusion_tasks
val_dataloader = dict(dataset=dict(fusion_tasks=dict(_delete_=True, multi_focus=tasks[task])))
test_dataloader = val_dataloader

val_evaluator = [dict(type='FusionMetric', fusion_task=task, metrics=['QMI', 'MI', 'QCB', 'QCV', 'Qabf', 'QY', 'EN', 'SF', 'VIF'])]
test_evaluator = val_evaluator
