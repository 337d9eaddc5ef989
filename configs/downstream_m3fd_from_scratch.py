"""downstream_m3fd.py with RTMDet-s from random weights, which then learn faster."""
_base_ = './downstream_m3fd.py'

model = dict(tasks=dict(det=dict(init_cfg=None)))
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
