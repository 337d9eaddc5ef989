"""Losses on image gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import sobel_magnitude, stronger
from mmfusion.registry import MODELS

from .base import TARGETS, BaseFusionLoss, check_target, make_target


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


def signed_gradient(image: Tensor) -> Tensor:
    r"""Sum of the derivatives to the right and upwards, with their signs, over all channels; zeros around the image.

    .. math::
        g(x) = \sum_c (K_x + K_y) * x_c, \quad
        K_x = \begin{pmatrix} -.2 & 0 & .2 \\ -1 & 0 & 1 \\ -.2 & 0 & .2 \end{pmatrix}, \quad
        K_y = \begin{pmatrix} .2 & 1 & .2 \\ 0 & 0 & 0 \\ -.2 & -1 & -.2 \end{pmatrix}

    Args:
        image: (N, C, H, W) floating.

    Returns:
        Tensor: (N, 1, H, W).

    Examples:
        >>> round(signed_gradient(torch.arange(25.).reshape(1, 1, 5, 5))[0, 0, 2, 2].item(), 4)
        -11.2
    """
    padded = F.pad(image.sum(1, keepdim=True), (1, 1, 1, 1))
    # in the sum of both kernels only differences along the antidiagonal remain
    near = padded[..., :-1, 1:] - padded[..., 1:, :-1]  # (N, 1, H + 1, W + 1)
    far = padded[..., :-2, 2:] - padded[..., 2:, :-2]  # (N, 1, H, W)
    return near[..., :-1, :-1] + near[..., 1:, 1:] + 0.4 * far


@MODELS.register_module()
class SignedGradientLoss(BaseFusionLoss):
    r"""The fused gradient should be the stronger gradient of the sources, pixel by pixel, or that of a target.

    .. math:: L = w \, \overline{\left| g(F) - h \right|}

    With ``target='stronger'``, h is at each pixel that of g(A) and g(B) whose magnitude is larger (g(A) where they are
    equal), otherwise the gradient of the target image; see :func:`signed_gradient` for g. Source: TC-MoA (CVPR 2024),
    which counts it threefold in its loss.

    Args:
        target: ``'stronger'``, or one of :func:`make_target`.
        loss_weight: w.

    Raises:
        ValueError: The target is unknown.

    Examples:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> SignedGradientLoss()(image, image, torch.zeros_like(image)).item()
        0.0
    """

    def __init__(self, target: str = 'stronger', loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.target = check_target(type(self).__name__, target, ('stronger', *TARGETS))

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Mean absolute difference of the gradients."""
        if self.target == 'stronger':
            wanted = stronger(signed_gradient(first), signed_gradient(second))
        else:
            wanted = signed_gradient(make_target(first, second, self.target, context.get('targets')))
        return F.l1_loss(signed_gradient(fused), wanted)

    def extra_repr(self) -> str:
        """Show the options."""
        return f'target={self.target!r}, {super().extra_repr()}'
