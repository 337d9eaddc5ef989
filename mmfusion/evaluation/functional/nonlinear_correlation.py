"""Nonlinear correlation information entropy of the fused image and its sources (QNCIE)."""

import math

import torch
from torch import Tensor

from .common.histograms import check_levels, grey_histogram, histogram_entropy, joint_histogram
from .common.per_source import PerSource


def nonlinear_correlation_entropy(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""How far fused image and both sources depend on each other, all three at once.

    .. math:: Q_{NCIE} = 1 + \sum_{k=1}^{3} \frac{\lambda_k}{3} \log_{256} \frac{\lambda_k}{3}

    with the eigenvalues of the 3x3 matrix of the nonlinear correlation coefficients
    :math:`NCC(X, Y) = H(X) + H(Y) - H(X, Y)`, entropies to the base 256, ones on the diagonal. Source: Q. Wang, Y. Shen
    and J. Jin, in Image Fusion, Academic Press (2008). In [0.80, 1] (0.802 for independent images); higher is better.
    It also counts how far the sources depend on each other, so compare on the same pairs only. A constant image is
    independent of any other. One program in use takes Pearson's correlation for NCC: another quantity.

    Args:
        fused: (N, 1, H, W) whole gray levels 0..255, uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.

    Returns:
        ``first`` and ``second``: NCC of the fused image with either source, in [0, 1]; ``total``: QNCIE. Each (N,)
        float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN, values outside [0, 255] or fractional.

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> nonlinear_correlation_entropy(image, image, image).total.item()
        1.0
    """
    images = check_levels(fused=fused, first=first, second=second)
    single = [histogram_entropy(grey_histogram(image), base=256) for image in images]
    matrix = torch.ones(len(fused), 3, 3, dtype=torch.float64, device=fused.device)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        joint = histogram_entropy(joint_histogram(images[i], images[j]).flatten(1), base=256)
        matrix[:, i, j] = matrix[:, j, i] = (single[i] + single[j] - joint).clamp_min(0)
    shares = torch.linalg.eigvalsh(matrix).clamp_min(0) / 3  # round-off may leave -1e-16
    return PerSource(matrix[:, 0, 1], matrix[:, 0, 2], 1 + torch.xlogy(shares, shares).sum(1) / math.log(256))
