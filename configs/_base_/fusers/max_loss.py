"""Loss of fusers that ship: the brighter source, the stronger of the signed gradients, and likeness to both sources."""
max_loss = dict(
    pixel=dict(type='MaxIntensityLoss', loss_weight=2.),
    learned=dict(type='LearnedFusionLoss', alpha=1.2, loss_weight=5.),
    ssim=dict(type='SSIMFusionLoss', target='both', loss_weight=1.))
