"""The literal formulation of the same network (tests/twins/moe_fusion_twin.py), as the other side of the comparison."""

default_scope = 'mmfusion'
custom_imports = dict(imports=['moe_fusion_twin'], allow_failed_imports=False)
model = dict(type='FusionOnly', fuser=dict(type='MoEFusionTwin'))
