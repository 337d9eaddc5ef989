"""Correlation of the fused image with its sources (CC), and of what each source added to it (SCD)."""

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images, row_chunks
from .common.per_source import PerSource

ROUND_OFF = 1e-12  # standard deviation in gray levels below which an image is constant


def correlation(fused: Tensor, first: Tensor, second: Tensor, undefined: float = 0.0) -> PerSource:
    r"""Linear correlation of the fused image with each source.

    .. math:: CC = \frac{r(F, A) + r(F, B)}{2}

    with Pearson's r over all pixels. Source: S. S. Han et al., J. Korean Soc. Remote Sens. 24, 573 (2008). In [-1, 1];
    higher is better. All programs agree.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        undefined: Value of r where an image is constant, 0/0.

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> correlation(image, image, 255 - image).second.item()
        -1.0
    """
    images = check_images(keep_dtype=True, fused=fused, first=first, second=second)

    def correlate(*images: Tensor) -> PerSource:
        means, sums = [_mean(image) for image in images], [0.0] * 5
        for rows in row_chunks(*images):
            f, a, b = (_centre(row, mean) for row, mean in zip(rows, means))
            sums = _add(sums, (f, a), (f, b), (f, f), (a, a), (b, b))
        fa, fb, ff, aa, bb = sums
        return PerSource.of(
            *(_pearson(xy, ff, yy, fused, undefined) for xy, yy in ((fa, aa), (fb, bb))), reduction='mean'
        )

    return map_images(correlate, *images)


def sum_of_correlations_of_differences(
    fused: Tensor, first: Tensor, second: Tensor, undefined: float = 0.0
) -> PerSource:
    r"""How well that which is left of the fused image without one source correlates with the other source.

    .. math:: SCD = r(F - B, A) + r(F - A, B)

    with Pearson's r over all pixels. Source: V. Aslantas and E. Bendes, AEU Int. J. Electron. Commun. 69, 1890 (2015).
    In [-2, 2]; higher is better. All programs agree.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        undefined: Value of a term that is 0/0: the fused image equals a source (up to a constant), or a source is
            constant.

    Returns:
        ``first``: r(F - second, first); ``second``: r(F - first, second); ``total``: their sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> first, second = torch.tensor([[[[0., 100.], [0., 100.]]]]), torch.tensor([[[[0., 0.], [100., 100.]]]])
        >>> round(sum_of_correlations_of_differences((first + second) / 2, first, second).total.item(), 9)
        1.414213562
    """
    images = check_images(keep_dtype=True, fused=fused, first=first, second=second)

    def correlate(*images: Tensor) -> PerSource:
        mean_f, mean_a, mean_b = map(_mean, images)
        sums = [0.0] * 6
        for f, a, b in row_chunks(*images):
            f, a, b = _centre(f, mean_f), _centre(a, mean_a), _centre(b, mean_b)
            without_a, without_b = f - a, f - b
            sums = _add(
                sums, (without_b, a), (without_b, without_b), (a, a), (without_a, b), (without_a, without_a), (b, b)
            )
        return PerSource.of(
            _pearson(*sums[:3], fused, undefined), _pearson(*sums[3:], fused, undefined), reduction='sum'
        )

    return map_images(correlate, *images)


def inner_product(x: Tensor, y: Tensor) -> Tensor:
    """Sum of products over the pixels of each image: (N, C, H, W) twice to (N,)."""
    if len(x) == 1:  # what a CPU meets, and twice as fast there
        return torch.dot(x.flatten(), y.flatten())[None]
    return (x * y).sum((1, 2, 3))


def _mean(image: Tensor) -> Tensor:
    return image.mean((1, 2, 3), keepdim=True, dtype=torch.float64)


def _centre(image: Tensor, mean: Tensor) -> Tensor:
    return image.to(torch.float64, copy=True).sub_(mean)


def _add(sums: list, *pairs: tuple) -> list:
    """Sums of products so far plus those of a chunk."""
    return [total + inner_product(x, y) for total, (x, y) in zip(sums, pairs)]


def _pearson(xy: Tensor, xx: Tensor, yy: Tensor, image: Tensor, undefined: float) -> Tensor:
    """r from sums of products of deviations over the pixels of an image."""
    constant = torch.minimum(xx, yy) <= image[0].numel() * ROUND_OFF**2
    return torch.where(constant, undefined, xy / (xx.sqrt() * yy.sqrt())).clamp(-1, 1)
