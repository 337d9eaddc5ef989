"""A small color fuser around the maximum: what it changes has a price, so it changes what serves the task.

The fusion loss pulls luminance towards the brighter source and its edges; alone (a task weight of 0, or ``detach=True``), it gives a sharper maximum.
"""
fuser = dict(type='PlainConvFuser', width=8, depth=3, rule='maximum', color_space='rgb', change_weight=3.)

fusion_loss = dict(
    pixel=dict(type='LuminanceFusionLoss', criterion=dict(type='MaxIntensityLoss', loss_weight=1.)),
    grad=dict(type='LuminanceFusionLoss', criterion=dict(type='SobelMaxLoss', loss_weight=1.)))
