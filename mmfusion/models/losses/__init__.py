"""Fusion losses: criteria on the fused image and its sources."""
from .base import BaseFusionLoss, make_target
from .box_guided import BoxGuidedPixelLoss, boxes_to_mask
from .gradient import SobelMaxLoss
from .learned import LearnedFusionLoss, LossGenerationModule
from .pixel import L1FusionLoss, MaxIntensityLoss, MSEFusionLoss
from .saliency import SaliencyFusionLoss, saliency_weights, visual_saliency
from .ssim import SSIMFusionLoss

__all__ = [
    'BaseFusionLoss', 'BoxGuidedPixelLoss', 'L1FusionLoss', 'LearnedFusionLoss', 'LossGenerationModule', 'MSEFusionLoss', 'MaxIntensityLoss',
    'SSIMFusionLoss', 'SaliencyFusionLoss', 'SobelMaxLoss', 'boxes_to_mask', 'make_target', 'saliency_weights', 'visual_saliency'
]
