"""Error that a viewer sees in the salient regions, of H. Chen and P. K. Varshney (QCV)."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.contrast_sensitivity import sensitivity_filter, stretch
from .common.filters import separable_filter
from .common.per_source import PerSource

BLOCK = 16


def chen_varshney(fused: Tensor, first: Tensor, second: Tensor, constant: str = 'zero') -> PerSource:
    r"""Mean square of the visible difference to the sources, in blocks weighted by their edges.

    .. math::
        Q_{CV} = \frac{\sum_w (\lambda_A D_A + \lambda_B D_B)_w}{\sum_w (\lambda_A + \lambda_B)_w}, \qquad
        \lambda_X = \sum_{p \in w} |\nabla X|_p^5, \qquad D_X = \overline{\left[S * (X - F)\right]^2}

    over blocks of 16x16 pixels (zeros fill those at the right and lower border), with the Sobel gradient (zeros beyond
    the border) and the contrast sensitivity of Mannos and Sakrison,
    :math:`S(r) = 2.6\,(0.0192 + 0.144 r)\,e^{-(0.144 r)^{1.1}}`, r a quarter of the frequency in periods per image.
    Each image is stretched to 0..255 first, so that an overall change of brightness or contrast does not count.
    Source: H. Chen and P. K. Varshney, Inf. Fusion 8, 193 (2007). Squared gray levels, from 0, of the order of 100 to
    2000; **lower is better**. All programs agree (VIFB prints the mean over color channels).

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 16x16 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        constant: What an image of one gray level becomes: ``'zero'``: black, and where nothing has an edge all blocks
            weigh alike; ``'nan'``: the result is NaN, as in the programs.

    Returns:
        ``total``: the published value; ``first`` and ``second``: the weighted mean of the difference to one source
        alone. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than a block, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> chen_varshney(image, image, image).total.item()
        0.0
    """
    images = check_images(min_size=BLOCK, fused=fused, first=first, second=second)
    return map_images(lambda *chunk: _chen_varshney(*chunk, constant), *images)


def _chen_varshney(fused: Tensor, first: Tensor, second: Tensor, constant: str) -> PerSource:
    fused, *sources = (stretch(image, constant) for image in (fused, first, second))
    visible = sensitivity_filter([source - fused for source in sources], _mannos_sakrison)
    errors = [_block_sums(difference.mul_(difference)) / BLOCK**2 for difference in visible]
    weights = []
    for source in sources:
        across = separable_filter(source, np.array([1.0, 2.0, 1.0]), np.array([-1.0, 0.0, 1.0]), 'zero')
        down = separable_filter(source, np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 1.0]), 'zero')
        square = across.mul_(across).addcmul_(down, down)
        weights.append(_block_sums(square.sqrt().mul_(square).mul_(square)))
    products = [(weight * error).sum(1) for weight, error in zip(weights, errors)]
    sums = [weight.sum(1) for weight in weights]
    products.append(products[0] + products[1])
    sums.append(sums[0] + sums[1])
    values = [product / total for product, total in zip(products, sums)]
    if constant == 'zero':  # no edge, no weight: all blocks alike
        plain = [error.mean(1) for error in errors]
        plain.append((plain[0] + plain[1]) / 2)
        values = [value.where(total != 0, mean) for value, total, mean in zip(values, sums, plain)]
    return PerSource(*values)


def _mannos_sakrison(radius: Tensor) -> Tensor:
    scaled = radius.mul_(0.144 / 4)
    return (scaled + 0.0192).mul_(2.6).mul_(scaled.pow_(1.1).neg_().exp_())


def _block_sums(image: Tensor) -> Tensor:
    """Sums (N, blocks) of (N, 1, H, W)."""
    height, width = image.shape[-2:]
    image = F.pad(image, (0, -width % BLOCK, 0, -height % BLOCK))
    return image.unflatten(-1, (-1, BLOCK)).sum(-1).unflatten(-2, (-1, BLOCK)).sum(-2).flatten(1)
