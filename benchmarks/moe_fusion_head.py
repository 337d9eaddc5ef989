"""The published MoE-Fusion network alone, for timing it: see docs/en/results.md."""

default_scope = 'mmfusion'
model = dict(type='FusionOnly', fuser=dict(type='MoEFusion'))
