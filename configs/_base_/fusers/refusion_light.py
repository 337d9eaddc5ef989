"""ReFusion for small machines: half the width, one block instead of two; same method and losses as ``refusion.py``."""
fuser = dict(type='ReFusion', channels=8, heads=4, blocks=1)

loss_generator = dict(type='LossGenerationModule', channels=8, heads=4, blocks=1)

fusion_loss = dict(learned=dict(type='LearnedFusionLoss', alpha=1.0, squared_weights=True))
