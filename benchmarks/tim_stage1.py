"""The published TIM network (tim_stage1), for timing it: see docs/en/tim.md."""

default_scope = 'mmfusion'
model = dict(type='FusionOnly', fuser=dict(type='TIM'))
