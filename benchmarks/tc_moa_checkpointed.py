"""TC-MoA that computes its blocks again in the backward pass: memory and time of training, against tc_moa.py."""

_base_ = './tc_moa.py'
model = dict(fuser=dict(with_cp=True))
