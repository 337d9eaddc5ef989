"""Likeness to a picture that holds the stronger details of both sources at every scale."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import from_laplacian_pyramid, laplacian_pyramid, stronger
from mmfusion.registry import MODELS

from .base import BaseFusionLoss, check_target, make_target


@MODELS.register_module()
class PyramidFusionLoss(BaseFusionLoss):
    r"""Mean absolute difference to a composite of the Laplacian pyramids of both sources.

    .. math:: L = w \, \overline{|F - T|}

    The pyramid of T has at each level and pixel the detail of larger magnitude, times ``gain``, over the brighter (or
    the mean) base. Losses on gradients may ask for derivatives that no picture has; this target is a picture. Ours,
    after A. Toet, Pattern Recognit. Lett. 9, 245 (1989).

    Args:
        levels: Levels of detail.
        base: ``'max'`` or ``'mean'``, for what is left below them.
        gain: Factor of the details: above 1 local contrast rises, and noise with it.
        loss_weight: w.

    Raises:
        ValueError: ``base`` is neither, ``levels`` is below 1, or ``gain`` is not positive.

    Examples:
        >>> first, second = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
        >>> loss = PyramidFusionLoss()
        >>> loss(loss.composite(first, second), first, second).item()
        0.0
    """

    def __init__(self, levels: int = 5, base: str = 'max', gain: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if levels < 1 or gain <= 0:
            raise ValueError(f'PyramidFusionLoss: levels must be at least 1 and gain positive, got {levels} and {gain}')
        self.levels, self.gain = levels, gain
        self.base = check_target(type(self).__name__, base, ('max', 'mean'))

    @torch.no_grad()
    def composite(self, first: Tensor, second: Tensor) -> Tensor:
        """The target T, (N, C, H, W) in [0, 1], of two sources (N, C, H, W) in [0, 1]."""
        (*details_a, base_a), (*details_b, base_b) = (
            laplacian_pyramid(image, self.levels) for image in (first, second)
        )
        details = [self.gain * stronger(a, b) for a, b in zip(details_a, details_b)]
        return from_laplacian_pyramid([*details, make_target(base_a, base_b, self.base)]).clamp(0, 1)

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Mean absolute difference to the composite."""
        return F.l1_loss(fused, self.composite(first, second))

    def extra_repr(self) -> str:
        """Show the options."""
        return f'levels={self.levels}, base={self.base!r}, gain={self.gain}, {super().extra_repr()}'
