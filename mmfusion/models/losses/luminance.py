"""Fusion losses of luminances, for fusers that work in color."""

from torch import Tensor

from mmfusion.models.layers.color import luminance
from mmfusion.registry import MODELS

from .base import BaseFusionLoss


@MODELS.register_module()
class LuminanceFusionLoss(BaseFusionLoss):
    """Another fusion loss on the luminances of fused image and sources.

    Channel by channel, the brighter of a red and of a gray pixel is a pale one: a color fuser would be taught to lose
    color. Gray images are compared as they are.

    Args:
        criterion: Config of a fusion loss, with its own ``loss_weight``.
        loss_weight: Factor of the result.

    Raises:
        TypeError: ``criterion`` is no fusion loss.

    Examples:
        >>> import torch
        >>> red, grey = torch.tensor([1., 0., 0.]).view(1, 3, 1, 1).expand(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.2)
        >>> loss = LuminanceFusionLoss(dict(type='L1FusionLoss', target='max'))
        >>> loss(red, red, grey).item()
        0.0
    """

    def __init__(self, criterion: dict, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.of_luminance = MODELS.build(criterion)
        if not isinstance(self.of_luminance, BaseFusionLoss):
            raise TypeError(
                f'LuminanceFusionLoss: criterion must be a fusion loss, got {type(self.of_luminance).__name__}'
            )

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Loss of the luminances."""
        return self.of_luminance(luminance(fused), luminance(first), luminance(second), **context)
