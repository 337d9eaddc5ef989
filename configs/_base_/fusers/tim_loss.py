"""The fusion loss of the TIM configs: L1 and SSIM to a composite of both sources weighted by saliency. Ours; TIM's own
losses are not public.
"""
fusion_loss = dict(
    saliency=dict(
        type='SaliencyFusionLoss', sharpness=5.0, pixel='l1', pixel_weight=1.0, similarity='ssim', similarity_weight=1.1, loss_weight=1.0))
