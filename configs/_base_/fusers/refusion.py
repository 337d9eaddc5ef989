"""ReFusion as published with TDFusion (CVPR 2025, arXiv 2412.03240): the fuser, its loss, and the module that generates
the loss.

``fusion_loss`` alone weighs both sources 0.5 everywhere; a meta coupling gives it the weights of ``loss_generator``.
"""
fuser = dict(type='ReFusion')

loss_generator = dict(type='LossGenerationModule')

fusion_loss = dict(learned=dict(type='LearnedFusionLoss', alpha=1.0, squared_weights=True))
