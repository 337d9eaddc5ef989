"""Fusion loss against a composite that takes from each source where it is salient.

The form is ours, chosen after losses that the authors of TIM released with other work: the composite under a softmax of
two saliency maps comes from LeSeFuse (IEEE SPL 2022), L1 and 1.1 (1 - SSIM) from BDLFusion (IJCAI 2023). TIM's own
losses (arXiv 2305.15862) are not public. The saliency is the histogram contrast of Y. Zhai and M. Shah, ACM Multimedia,
815 (2006). Written from the formulas.
"""

from typing import Dict

import torch
import torch.nn.functional as F
from torch import Tensor

from mmfusion.models.layers import ms_ssim, ssim_map
from mmfusion.models.layers.color import luminance
from mmfusion.registry import MODELS

from .base import BaseFusionLoss

LEVELS = 256
PIXEL_TERMS = {'l1': F.l1_loss, 'mse': F.mse_loss}
SIMILARITIES = ('ssim', 'ms_ssim')


@torch.no_grad()
def visual_saliency(image: Tensor) -> Tensor:
    r"""How far the gray level of each pixel lies from those of all others, image by image.

    .. math:: V(x) = \sum_{j=0}^{255} |v(x) - j| \, h(j) \Big/ \max_x \sum_{j=0}^{255} |v(x) - j| \, h(j)

    with the gray level :math:`v` in 256 steps (values outside [0, 1] are clamped) and its histogram :math:`h`.

    Args:
        image: (N, 1 or 3, H, W) floating, nominal [0, 1]; of RGB the luminance counts.

    Returns:
        Tensor: (N, 1, H, W) in [0, 1], without gradient; 1 is reached in every image, except that an image of one level
        is 0 everywhere.

    Examples:
        >>> visual_saliency(torch.tensor([0., 0., 0., 1.]).view(1, 1, 2, 2)).flatten().tolist()
        [0.3333333432674408, 0.3333333432674408, 0.3333333432674408, 1.0]
    """
    number, height, width = image.shape[0], *image.shape[-2:]
    grey = (luminance(image).clamp(0, 1) * (LEVELS - 1)).round().long().flatten(1)  # (N, H W)
    offset = torch.arange(number, device=image.device).unsqueeze(1) * LEVELS
    counts = torch.bincount((grey + offset).flatten(), minlength=number * LEVELS).view(number, LEVELS)
    levels = torch.arange(LEVELS, device=image.device)
    # Sums of integers, exact in float64 on every device and in any order.
    contrast = counts.double() @ (levels - levels.unsqueeze(1)).abs().double()  # (N, 256)
    largest = contrast.masked_fill(counts == 0, 0).amax(dim=1, keepdim=True)  # over levels that occur
    scaled = contrast / largest.clamp_min(1)
    return scaled.gather(1, grey).view(number, 1, height, width).to(image.dtype)


@torch.no_grad()
def saliency_weights(first: Tensor, second: Tensor, sharpness: float = 5.0) -> Tensor:
    r"""Share of each source in every pixel, :math:`\mathrm{softmax}(k V(A), k V(B))`.

    Args:
        first: (N, 1 or 3, H, W) floating in [0, 1].
        second: Same N, H and W.
        sharpness: k. 0 gives 0.5 everywhere, a large value all to the more salient source.

    Returns:
        Tensor: (N, 2, H, W), positive; the channels sum up to 1. Without gradient.

    Examples:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> saliency_weights(image, image).unique().tolist()
        [0.5]
    """
    return torch.softmax(sharpness * torch.cat([visual_saliency(first), visual_saliency(second)], dim=1), dim=1)


@MODELS.register_module()
class SaliencyFusionLoss(BaseFusionLoss):
    r"""Resemblance to a composite of both sources, in which each pixel comes mostly from the source where it is more
    salient.

    .. math::
        L = w \left( w_p \, \overline{|F - T|} + w_s (1 - SSIM(F, T)) \right), \quad
        T = W_a A + W_b B, \quad (W_a, W_b) = \mathrm{softmax}(k V(A), k V(B))

    See :func:`visual_saliency` for V, and the head of this file for where the form comes from. The saliency is that of
    whole images as given: padding in a batch of different sizes counts as part of them.

    Args:
        sharpness: k.
        pixel: ``'l1'``, or ``'mse'`` for the mean squared difference (as LeSeFuse has it).
        pixel_weight: :math:`w_p`.
        similarity: ``'ssim'``, or ``'ms_ssim'`` for up to five scales (LeSeFuse, with ``similarity_weight=10``).
        similarity_weight: :math:`w_s`.
        window: Side of the Gaussian window, sigma 1.5.
        loss_weight: w.

    Raises:
        ValueError: An option is unknown, a weight is negative or none is positive, or the window is even or not
            positive.

    Examples:
        >>> a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
        >>> loss = SaliencyFusionLoss()
        >>> abs(loss(loss.composite(a, b), a, b).item()) < 1e-6
        True
    """

    def __init__(
        self,
        sharpness: float = 5.0,
        pixel: str = 'l1',
        pixel_weight: float = 1.0,
        similarity: str = 'ssim',
        similarity_weight: float = 1.1,
        window: int = 11,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        for key, value, allowed in (('pixel', pixel, tuple(PIXEL_TERMS)), ('similarity', similarity, SIMILARITIES)):
            if value not in allowed:
                raise ValueError(f'SaliencyFusionLoss: {key} must be one of {allowed}, got {value!r}')
        if min(sharpness, pixel_weight, similarity_weight) < 0 or pixel_weight + similarity_weight == 0:
            raise ValueError(
                'SaliencyFusionLoss: sharpness and weights must not be negative, and one of the two weights must be '
                'positive; '
                f'got {sharpness}, {pixel_weight}, {similarity_weight}'
            )
        if window < 1 or window % 2 == 0:
            raise ValueError(f'SaliencyFusionLoss: window must be odd and positive, got {window}')
        self.sharpness, self.pixel, self.similarity, self.window = sharpness, pixel, similarity, window
        self.pixel_weight, self.similarity_weight = pixel_weight, similarity_weight

    def composite(self, first: Tensor, second: Tensor) -> Tensor:
        """The target T, (N, C, H, W); both sources are (N, C, H, W) in [0, 1]."""
        weights = saliency_weights(first, second, self.sharpness)
        return weights[:, :1] * first + weights[:, 1:] * second

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Both terms under their weights; see :meth:`terms`."""
        terms = self.terms(fused, first, second)
        return self.pixel_weight * terms['pixel'] + self.similarity_weight * terms['similarity']

    def terms(self, fused: Tensor, first: Tensor, second: Tensor) -> Dict[str, Tensor]:
        """The terms apart, without weights.

        Args:
            fused: (N, C, H, W).
            first: Same shape.
            second: Same shape.

        Returns:
            dict: ``pixel`` and ``similarity`` (one minus it), scalars.
        """
        target = self.composite(first, second)
        similarity = (
            ssim_map(fused, target, self.window) if self.similarity == 'ssim' else ms_ssim(fused, target, self.window)
        )
        return dict(pixel=PIXEL_TERMS[self.pixel](fused, target), similarity=1 - similarity.mean())

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f'sharpness={self.sharpness}, {self.pixel_weight} {self.pixel} + {self.similarity_weight} '
            f'{self.similarity} (window {self.window}), {super().extra_repr()}'
        )
