"""Losses on pixel values against a target made of the sources."""

import torch.nn.functional as F
from torch import Tensor

from mmfusion.registry import MODELS

from .base import BaseFusionLoss, check_target, make_target


@MODELS.register_module()
class L1FusionLoss(BaseFusionLoss):
    """Mean absolute difference to a target.

    Args:
        target: See :func:`make_target`.
        loss_weight: Factor of the result.

    Examples:
        >>> import torch
        >>> L1FusionLoss('mean')(torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)).item()
        0.5
    """

    def __init__(self, target: str = 'max', loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.target = check_target(type(self).__name__, target)

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Mean absolute difference."""
        return F.l1_loss(fused, make_target(first, second, self.target, context.get('targets')))


@MODELS.register_module()
class MSEFusionLoss(BaseFusionLoss):
    """Mean squared difference to a target.

    Args:
        target: See :func:`make_target`.
        loss_weight: Factor of the result.
    """

    def __init__(self, target: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.target = check_target(type(self).__name__, target)

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Mean squared difference."""
        return F.mse_loss(fused, make_target(first, second, self.target, context.get('targets')))


@MODELS.register_module()
class MaxIntensityLoss(L1FusionLoss):
    """Mean absolute difference to the brighter source at every pixel, the usual intensity term of infrared-visible
    fusion.

    Args:
        loss_weight: Factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__('max', loss_weight)
