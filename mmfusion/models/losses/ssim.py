"""Structural similarity as a loss."""

from torch import Tensor

from mmfusion.models.layers import ssim_maps
from mmfusion.models.layers.ssim import BORDERS
from mmfusion.registry import MODELS

from .base import TARGETS, BaseFusionLoss, check_target, make_target


@MODELS.register_module()
class SSIMFusionLoss(BaseFusionLoss):
    r"""One minus the structural similarity to the sources or to a target.

    With ``target='both'``: :math:`L = 1 - \tfrac12 (SSIM(F, A) + SSIM(F, B))`.

    Args:
        target: ``'both'``, or one of :func:`make_target`.
        window: Side of the Gaussian window, sigma 1.5.
        loss_weight: Factor of the result.
        border: ``'valid'``: only places where the window fits; ``'zero'``: every pixel, with zeros around the images.

    Raises:
        ValueError: The target or the border is unknown, or the window is even or not positive.

    Examples:
        >>> import torch
        >>> image = torch.rand(1, 1, 16, 16)
        >>> abs(SSIMFusionLoss('first')(image, image, 1 - image).item()) < 1e-6
        True
    """

    def __init__(self, target: str = 'both', window: int = 11, loss_weight: float = 1.0, border: str = 'valid') -> None:
        super().__init__(loss_weight)
        self.target = check_target(type(self).__name__, target, ('both', *TARGETS))
        if window < 1 or window % 2 == 0:
            raise ValueError(f'SSIMFusionLoss: window must be odd and positive, got {window}')
        if border not in BORDERS:
            raise ValueError(f'SSIMFusionLoss: border must be one of {BORDERS}, got {border!r}')
        self.window, self.border = window, border

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """One minus the mean of the map."""
        if self.target == 'both':
            targets = (first, second)
        else:
            targets = (make_target(first, second, self.target, context.get('targets')),)
        return 1 - sum(
            similarity.mean() for similarity in ssim_maps(fused, targets, self.window, border=self.border)
        ) / len(targets)

    def extra_repr(self) -> str:
        """Show the options."""
        return f'target={self.target!r}, window={self.window}, border={self.border!r}, {super().extra_repr()}'
