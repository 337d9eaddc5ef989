"""TC-MoA on the base masked autoencoder, for timing it: see docs/en/results.md."""

default_scope = 'mmfusion'
model = dict(
    type='FusionOnly',
    fuser=dict(type='TCMoA'),
    fusion_loss=dict(grad=dict(type='SobelMaxLoss'), pixel=dict(type='MaxIntensityLoss')),
)
