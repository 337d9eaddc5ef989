"""Structural similarity of the fused image to its sources (SSIM)."""

from typing import Iterable, NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.filters import gaussian_taps
from .common.per_source import BothSources, PerSource
from .common.windows import PAIR_TERMS, box_sums, window_means

WINDOW, SIGMA = 11, 1.5
UNIFORM = 7
K1, K2 = 0.01, 0.03


def ssim(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    data_range: float = 255.0,
    window: str = 'gaussian',
    border: str = 'valid',
    reduction: str = 'mean',
) -> PerSource:
    r"""Structural similarity with each source, by default with the window and constants of its inventors.

    .. math:: SSIM(F, X) = \overline{\frac{(2\mu_F\mu_X + C_1)(2\sigma_{FX} + C_2)}{(\mu_F^2 + \mu_X^2 +
        C_1)(\sigma_F^2 + \sigma_X^2 + C_2)}}

    with :math:`C_1 = (0.01 L)^2`, :math:`C_2 = (0.03 L)^2`. Source: Z. Wang et al., IEEE Trans. Image Process. 13, 600
    (2004). Each value lies in [-1, 1], 1 only for an image equal to the source; higher is better. Two equal flat images
    give 1.

    Programs differ in L (it should be 255 for gray levels up to 255; with 1 or 2 the constants vanish and flat regions
    are rated by their noise), in the window, at the border, and in whether they print the mean or the sum of the two
    values: 0.5 and 1.4 can be the same image.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating. At least as large as the window where ``border``
            is ``'valid'``.
        first: First source, same shape.
        second: Second source, same shape.
        data_range: L.
        window: ``'gaussian'``: 11x11, sigma 1.5, population moments; ``'uniform'``: 7x7, sample moments (divided by 48,
            not 49).
        border: ``'valid'``: mean over the windows inside the image; ``'replicate'``, for the Gaussian only: over those
            of all pixels, the last row and column repeated.
        reduction: What ``total`` is of the two values, ``'mean'`` or ``'sum'``.

    Returns:
        ``first`` and ``second``: similarity with either source; ``total``: their mean or sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than the window, NaN or values outside [0, 255], or an option that
            does not exist.

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> round(ssim(image, image, image).total.item(), 12)
        1.0
        >>> round(ssim(image, image, image, data_range=2, window='uniform', reduction='sum').total.item(), 12)
        2.0
    """
    if (window, border) not in (('gaussian', 'valid'), ('gaussian', 'replicate'), ('uniform', 'valid')):
        raise ValueError(
            f"window must be 'gaussian' with border='valid' or 'replicate', or 'uniform' with 'valid'; "
            f'got {window!r} and {border!r}'
        )
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    size = WINDOW if window == 'gaussian' else UNIFORM
    images = check_images(min_size=size if border == 'valid' else 1, fused=fused, first=first, second=second)
    if border != 'valid':
        images = [F.pad(image, (size // 2,) * 4, mode=border) for image in images]

    def compare(*images: Tensor) -> BothSources:
        if window == 'gaussian':
            return window_similarity(window_means(images, PAIR_TERMS, gaussian_taps(size, SIGMA)), c1, c2)
        # sums instead of means: on whole gray levels every moment is then an exact integer, and a small L amplifies no
        # round-off
        n = size**2
        return window_similarity(box_sums(images, PAIR_TERMS, size), c1 * n * n, c2 * n * (n - 1), n)

    first, second = map_images(compare, *images)
    return PerSource.of(first.similarity, second.similarity, reduction)


class Similarity(NamedTuple):
    """SSIM and its contrast-and-structure factor, averaged over the windows of each image, (N,)."""

    similarity: Tensor
    structure: Tensor


def window_similarity(strips: Iterable[Sequence[Tensor]], c1: float, c2: float, n: int = 1) -> BothSources:
    """Compare the fused image with both sources, window by window.

    Args:
        strips: Moments as :data:`windows.PAIR_TERMS` lists them, strip by strip, each weighted to the sum ``n``. They
            are overwritten.
        c1: Constant of the luminance term, times n squared.
        c2: Constant of the structure term, times n squared (or n (n - 1) for sample moments).
        n: Sum of the window's weights.
    """
    similarity, structure, windows = [0.0, 0.0], [0.0, 0.0], 0
    for sum_f, square_f, *of_sources in strips:
        windows += sum_f[0].numel()
        for i, (sum_x, squares, cross) in enumerate((of_sources[:3], of_sources[3:])):
            product, both = sum_f * sum_x, (sum_f * sum_f).addcmul_(sum_x, sum_x)
            term = torch.sub(product, cross, alpha=n).mul_(-2).add_(c2)  # 2 cov + c2
            term.div_(squares.add_(square_f).mul_(n).sub_(both).add_(c2))
            structure[i] = structure[i] + term.sum((1, 2, 3))
            similarity[i] = similarity[i] + term.mul_(product.mul_(2).add_(c1)).div_(both.add_(c1)).sum((1, 2, 3))
    return BothSources(*(Similarity(whole / windows, part / windows) for whole, part in zip(similarity, structure)))
