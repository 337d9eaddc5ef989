"""Structural similarity of a fused image to the best of several exposures, as a loss.

MEF-SSIM goes back to K. Ma, K. Zeng and Z. Wang, IEEE Trans. Image Process. 24, 3345 (2015). The form below, with the
structure of the source of more contrast and with a luminance term, is the one that TC-MoA (P. Zhu, Y. Sun, B. Cao
and Q. Hu, CVPR 2024) trains with. Written from the formulas. The metric of the same name in ``mmfusion.evaluation``
follows the first paper and mixes the structures.
"""

from typing import Optional

import torch
from torch import Tensor

from mmfusion.models.layers import gaussian_means
from mmfusion.models.layers.ssim import BORDERS
from mmfusion.registry import MODELS

from .base import BaseFusionLoss

C1, C2 = 0.01**2, 0.03**2


@MODELS.register_module()
class MEFSSIMLoss(BaseFusionLoss):
    r"""One minus the structural similarity to the source with more contrast, times the similarity to a well-exposed
    luminance.

    With moments under a Gaussian window, over all channels together, and k at each pixel the source of the larger
    variance:

    .. math::
        L = w \left( 1 - \bar l \cdot \bar s \right), \quad
        s = \frac{2 \sigma_{F Y_k} + C_2}{\sigma_F^2 + \sigma_{Y_k}^2 + C_2}, \quad
        l = \frac{2 \mu_F m + C_1}{\mu_F^2 + m^2 + C_1}

    .. math::
        m = \frac{\sum_j v_j \mu_j}{\sum_j v_j}, \quad
        v_j = \exp\left( -\frac{(\bar\mu_j - 0.5)^2}{2 \sigma_g^2} - \frac{(\mu_j - 0.5)^2}{2 \sigma_l^2} \right)

    so that a source counts where its neighborhood, and the image as a whole, is neither dark nor bright.

    Args:
        joint_batch: Take a batch for one image, its images below each other, as the published program does: windows
            reach over the seams and the means are those of the batch. By default each image stands for itself and the
            loss is the mean over them.
        luminance: False leaves out :math:`\bar l`, for sources whose exposure should not matter.
        window: Side of the Gaussian window.
        sigma: Standard deviation of the window in pixels; None for ``window / 6``.
        sigma_global: :math:`\sigma_g`.
        sigma_local: :math:`\sigma_l`.
        border: ``'zero'``: zeros around the images, as published; ``'valid'``: only where the window fits.
        loss_weight: w.

    Raises:
        ValueError: The window is even or not positive, a standard deviation is not positive, or the border is unknown.

    Examples:
        >>> image = torch.rand(1, 3, 16, 16)
        >>> abs(MEFSSIMLoss()(image, image, image).item()) < 1e-5
        True
    """

    def __init__(
        self,
        joint_batch: bool = False,
        luminance: bool = True,
        window: int = 11,
        sigma: Optional[float] = None,
        sigma_global: float = 0.2,
        sigma_local: float = 0.2,
        border: str = 'zero',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        if window < 1 or window % 2 == 0:
            raise ValueError(f'MEFSSIMLoss: window must be odd and positive, got {window}')
        sigma = window / 6 if sigma is None else sigma
        if min(sigma, sigma_global, sigma_local) <= 0:
            raise ValueError(
                f'MEFSSIMLoss: sigma, sigma_global and sigma_local must be positive, got {sigma}, '
                f'{sigma_global}, {sigma_local}'
            )
        if border not in BORDERS:
            raise ValueError(f'MEFSSIMLoss: border must be one of {BORDERS}, got {border!r}')
        self.joint_batch, self.luminance, self.border = joint_batch, luminance, border
        self.window, self.sigma, self.sigma_global, self.sigma_local = window, sigma, sigma_global, sigma_local

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """One minus the mean over images."""
        # apart from each other: sources without gradient take no part in the backward pass
        mean_f, ff, fa, fb = self._means(fused, fused * fused, fused * first, fused * second)
        mean_a, mean_b, aa, bb = self._means(first, second, first * first, second * second)
        var_a, var_b = aa - mean_a.square(), bb - mean_b.square()
        stronger = var_a >= var_b
        covariance = torch.where(stronger, fa - mean_f * mean_a, fb - mean_f * mean_b)
        variances = ff - mean_f.square() + torch.where(stronger, var_a, var_b)
        value = ((2 * covariance + C2) / (variances + C2)).mean((1, 2, 3))  # (N,), (1,) for a joint batch
        if self.luminance:
            weight_a, weight_b = self._well_exposed(mean_a), self._well_exposed(mean_b)
            wanted = (weight_a * mean_a + weight_b * mean_b) / (weight_a + weight_b)
            value = value * ((2 * mean_f * wanted + C1) / (mean_f.square() + wanted.square() + C1)).mean((1, 2, 3))
        return 1 - value.mean()

    def _means(self, *images: Tensor) -> 'list[Tensor]':
        """Means over windows and channels, each (N, 1, H, W), or (1, 1, N H, W) for a joint batch."""
        grey = [image.mean(1, keepdim=True) for image in images]
        if self.joint_batch:
            grey = [image.reshape(1, 1, -1, image.shape[-1]) for image in grey]
        return gaussian_means(grey, self.window, self.sigma, self.border)

    def _well_exposed(self, mean: Tensor) -> Tensor:
        whole = (mean.mean((1, 2, 3), keepdim=True) - 0.5).square() / (2 * self.sigma_global**2)
        return torch.exp(-whole - (mean - 0.5).square() / (2 * self.sigma_local**2))

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f'joint_batch={self.joint_batch}, luminance={self.luminance}, window={self.window}, '
            f'sigma={self.sigma:.4g}, border={self.border!r}, {super().extra_repr()}'
        )
