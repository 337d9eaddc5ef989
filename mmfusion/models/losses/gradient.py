"""Losses on image gradients."""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import sobel_magnitude
from mmfusion.registry import MODELS

from .base import BaseFusionLoss


@MODELS.register_module()
class SobelMaxLoss(BaseFusionLoss):
    r"""The fused gradient should reach the stronger gradient of the sources, pixel by pixel.

    .. math:: L = w \, \overline{\left| S(F) - \max(S(A), S(B)) \right|}, \quad S(x) = |G_x * x| + |G_y * x|

    Source: MoE-Fusion (ICCV 2023), with weight 10 as published there; common to many fusion methods.

    Args:
        loss_weight: w.

    Examples:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> SobelMaxLoss()(image, image, torch.zeros_like(image)).item()
        0.0
    """

    def __init__(self, loss_weight: float = 10.0) -> None:
        super().__init__(loss_weight)

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Mean absolute difference of the gradients."""
        return F.l1_loss(sobel_magnitude(fused), torch.maximum(sobel_magnitude(first), sobel_magnitude(second)))
