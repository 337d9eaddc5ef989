"""The published ReFusion network with its loss at fixed weights, for timing it: see docs/en/tdfusion.md."""

default_scope = 'mmfusion'
model = dict(type='FusionOnly', fuser=dict(type='ReFusion'), fusion_loss=dict(learned=dict(type='LearnedFusionLoss')))
