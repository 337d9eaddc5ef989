"""The literal formulation of the same network (tests/twins/tc_moa_twin.py), as the other side of the comparison."""

default_scope = 'mmfusion'
custom_imports = dict(imports=['tc_moa_official'], allow_failed_imports=False)
model = dict(type='FusionOnly', fuser=dict(type='TCMoATwin', arch='base'))
