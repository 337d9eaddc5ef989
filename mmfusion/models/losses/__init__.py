"""Fusion losses: criteria on the fused image and its sources."""

from .base import BaseFusionLoss, make_target
from .box_guided import BoxGuidedPixelLoss, boxes_to_mask
from .focus import focus_mask
from .gradient import SignedGradientLoss, SobelMaxLoss, signed_gradient
from .learned import LearnedFusionLoss, LossGenerationModule
from .luminance import LuminanceFusionLoss
from .mef_ssim import MEFSSIMLoss
from .pixel import L1FusionLoss, MaxIntensityLoss, MSEFusionLoss
from .pyramid import PyramidFusionLoss
from .saliency import SaliencyFusionLoss, saliency_weights, visual_saliency
from .ssim import SSIMFusionLoss
from .task import TaskFusionLoss

__all__ = [
    'BaseFusionLoss',
    'BoxGuidedPixelLoss',
    'L1FusionLoss',
    'LearnedFusionLoss',
    'LossGenerationModule',
    'LuminanceFusionLoss',
    'MEFSSIMLoss',
    'MSEFusionLoss',
    'MaxIntensityLoss',
    'PyramidFusionLoss',
    'SSIMFusionLoss',
    'SaliencyFusionLoss',
    'SignedGradientLoss',
    'SobelMaxLoss',
    'TaskFusionLoss',
    'boxes_to_mask',
    'focus_mask',
    'make_target',
    'saliency_weights',
    'signed_gradient',
    'visual_saliency',
]
