"""A small color fuser around the maximum in false color: what it changes has a price, so it changes what serves the
task.

The fusion loss pulls luminance towards the brighter source and its edges; alone (a task weight of 0, or
``detach=True``), it gives about the rule.
"""
fuser = dict(type='PlainConvFuser', width=8, depth=3, rule='false_color', color_space='rgb', change_weight=3.)

fusion_loss = dict(
    pixel=dict(type='LuminanceFusionLoss', criterion=dict(type='MaxIntensityLoss', loss_weight=0.5)),
    grad=dict(type='LuminanceFusionLoss', criterion=dict(type='SobelMaxLoss', loss_weight=0.5)))
