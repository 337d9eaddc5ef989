"""The small FCN for the nine classes of MSRS, of whose pixels nine in ten are background."""
_base_ = './fcn_small.py'

# mmseg's weighted loss leaves ignored pixels out by itself, and fails with avg_non_ignore.
segmentor = dict(
    decode_head=dict(
        num_classes=9, sampler=None, loss_decode=dict(class_weight=[0.2, 1., 2., 2., 3., 3., 3., 3., 3.], avg_non_ignore=False)))
