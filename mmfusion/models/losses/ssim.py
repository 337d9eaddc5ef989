"""Structural similarity as a loss."""
from torch import Tensor

from mmfusion.models.layers import ssim_map
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

    Raises:
        ValueError: The target is unknown, or the window is even or not positive.

    Examples:
        >>> import torch
        >>> image = torch.rand(1, 1, 16, 16)
        >>> abs(SSIMFusionLoss('first')(image, image, 1 - image).item()) < 1e-6
        True
    """

    def __init__(self, target: str = 'both', window: int = 11, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.target = check_target(type(self).__name__, target, ('both', *TARGETS))
        if window < 1 or window % 2 == 0:
            raise ValueError(f'SSIMFusionLoss: window must be odd and positive, got {window}')
        self.window = window

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """One minus the mean of the map."""
        targets = (first, second) if self.target == 'both' else (make_target(first, second, self.target), )
        return 1 - sum(ssim_map(fused, target, self.window).mean() for target in targets) / len(targets)
