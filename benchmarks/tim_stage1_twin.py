"""The literal formulation of the same network (tests/twins/tim_twin.py), as the other side of the comparison."""

default_scope = 'mmfusion'
custom_imports = dict(imports=['tim_twin'], allow_failed_imports=False)
model = dict(type='FusionOnly', fuser=dict(type='TIMTwin'))
