"""The published TIM network (tim_light), for timing it: see docs/en/tim.md."""

default_scope = 'mmfusion'
model = dict(type='FusionOnly', fuser=dict(type='TIM', genotype='fusion_light'))
