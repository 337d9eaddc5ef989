"""A fusion loss whose weights are generated per pixel, and the network that generates them.

H. Bai et al., "Task-driven image fusion with learnable fusion loss" (TDFusion), CVPR 2025, arXiv 2412.03240. Written
from a description of the method, without official code.
"""

from typing import Dict, Optional, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfusion.models.layers import restormer_blocks, sobel_xy, stronger
from mmfusion.registry import MODELS

from .base import BaseFusionLoss


@MODELS.register_module()
class LossGenerationModule(BaseModule):
    """Looks at both sources and says pixel by pixel how much the fused image should resemble each.

    Args:
        channels: Width c of the encoders of each source; behind them both have 2c.
        heads: Heads of the channel attention; divides ``channels``.
        blocks: Blocks in each of the three encoders.
        factor: Hidden width of the feed-forward networks over their width.
        init_cfg: mmengine initialization config.

    Examples:
        >>> weights = LossGenerationModule(channels=8, blocks=1)(torch.rand(1, 1, 17, 30), torch.rand(1, 1, 17, 30))
        >>> weights.shape, bool((weights.sum(dim=1) - 1).abs().max() < 1e-6)
        (torch.Size([1, 2, 17, 30]), True)
    """

    def __init__(
        self,
        channels: int = 16,
        heads: int = 8,
        blocks: int = 2,
        factor: float = 2.0,
        init_cfg: Optional[Union[dict, list]] = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if blocks < 1:
            raise ValueError(f'blocks must be at least 1, got {blocks}')
        self.stem_first = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.stem_second = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        options = dict(heads=heads, factor=factor)
        self.encoder_first = restormer_blocks(channels, blocks, **options)
        self.encoder_second = restormer_blocks(channels, blocks, **options)
        self.encoder_both = restormer_blocks(2 * channels, blocks, **options)
        self.reduce = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.activation = nn.PReLU()
        self.output = nn.Conv2d(channels, 2, 3, padding=1, bias=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Weights of both sources for every pixel.

        Args:
            first: (N, 1, H, W) float in [0, 1].
            second: Same shape.

        Returns:
            Tensor: (N, 2, H, W), positive; channel 0 weighs the first source, and the channels sum up to 1.

        Raises:
            ValueError: The sources are not equal (N, 1, H, W).
        """
        if first.shape != second.shape or first.dim() != 4 or first.shape[1] != 1:
            raise ValueError(
                f'LossGenerationModule takes two equal luminance batches (N, 1, H, W), got {tuple(first.shape)} and '
                f'{tuple(second.shape)}'
            )
        both = torch.cat(
            [self.encoder_first(self.stem_first(first)), self.encoder_second(self.stem_second(second))], dim=1
        )
        x = self.activation(self.reduce(self.encoder_both(both)))
        return self.output(x).softmax(dim=1).contiguous()


@MODELS.register_module()
class LearnedFusionLoss(BaseFusionLoss):
    r"""Weighted resemblance to both sources, and the stronger of their gradients.

    .. math::
        L = w \left( L_\mathrm{int} + \alpha L_\mathrm{grad} \right), \quad
        L_\mathrm{int} = \overline{(w_a (F - A))^2} + \overline{(w_b (F - B))^2}, \quad
        L_\mathrm{grad} = \overline{|S_x F - M_x|} + \overline{|S_y F - M_y|}

    :math:`S_x, S_y` are the signed Sobel derivatives; :math:`M_x` is at each pixel that of :math:`S_x A` and
    :math:`S_x B` whose magnitude is larger (A where they are equal), and :math:`M_y` likewise. Source: TDFusion (CVPR
    2025). The published code squares the weights, as above; the paper's formula has :math:`w_a (F - A)^2`.

    Args:
        alpha: Weight of the gradient term.
        squared_weights: Square the weights of the pixels (published code) or not (paper).
        loss_weight: w.

    Examples:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> LearnedFusionLoss()(image, image, torch.zeros_like(image), weights=torch.tensor([1., 0.]).view(1, 2, 1, 1).expand(1, 2, 16, 16)).item()
        0.0
    """

    def __init__(self, alpha: float = 1.0, squared_weights: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.alpha = alpha
        self.squared_weights = squared_weights

    def criterion(
        self, fused: Tensor, first: Tensor, second: Tensor, weights: Optional[Tensor] = None, **context
    ) -> Tensor:
        """Both terms; see :meth:`terms`."""
        terms = self.terms(fused, first, second, weights)
        return terms['intensity'] + self.alpha * terms['gradient']

    def terms(
        self, fused: Tensor, first: Tensor, second: Tensor, weights: Optional[Tensor] = None
    ) -> Dict[str, Tensor]:
        """The terms apart, without ``alpha`` and ``loss_weight``.

        Args:
            fused: (N, C, H, W).
            first: Same shape.
            second: Same shape.
            weights: (N, 2, H, W), of the first and the second source; 0.5 for both when None.

        Returns:
            dict: ``intensity`` and ``gradient``, scalars.

        Raises:
            ValueError: ``weights`` have another shape.
        """
        if weights is None:
            weights = fused.new_full((1, 2, 1, 1), 0.5)
        elif weights.shape != (fused.shape[0], 2, *fused.shape[-2:]):
            raise ValueError(
                f'{type(self).__name__}: weights must be (N, 2, H, W) = {(fused.shape[0], 2, *fused.shape[-2:])}, '
                f'got {tuple(weights.shape)}'
            )
        weights = weights.to(fused.dtype)
        if self.squared_weights:
            weights = weights.square()
        intensity = sum(
            (weights[:, i : i + 1] * (fused - source).square()).mean() for i, source in enumerate((first, second))
        )
        gradient = sum(
            F.l1_loss(f, stronger(a, b)) for f, a, b in zip(sobel_xy(fused), sobel_xy(first), sobel_xy(second))
        )
        return dict(intensity=intensity, gradient=gradient)

    def extra_repr(self) -> str:
        """Show the options."""
        return f'alpha={self.alpha}, squared_weights={self.squared_weights}, {super().extra_repr()}'
