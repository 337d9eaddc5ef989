"""The literal formulation of the same network (tests/twins/tdfusion_twin.py), as the other side of the comparison."""

default_scope = 'mmfusion'
custom_imports = dict(imports=['tdfusion_twin'], allow_failed_imports=False)
model = dict(
    type='FusionOnly', fuser=dict(type='ReFusionTwin'), fusion_loss=dict(learned=dict(type='LearnedFusionLoss'))
)
