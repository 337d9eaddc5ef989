"""Mutual information relative to the entropy of the images (QMI, also printed as NMI)."""

import torch
from torch import Tensor

from .common.histograms import check_levels, grey_histogram, histogram_entropy, joint_histogram
from .common.per_source import PerSource


def normalized_mutual_information(fused: Tensor, first: Tensor, second: Tensor, undefined: float = 0.0) -> PerSource:
    r"""Mutual information that does not favor sources of high entropy.

    .. math:: Q_{MI} = 2 \left[ \frac{I(F, A)}{H(F) + H(A)} + \frac{I(F, B)}{H(F) + H(B)} \right]

    Source: M. Hossny, S. Nahavandi and D. Creighton, Electron. Lett. 44, 1066 (2008). Each term in [0, 1], the sum in
    [0, 2]; higher is better. The programs stretch every image to 0..255 first, which renames the levels and changes
    nothing. A measure of the same name divides the sum of both terms by the entropy of the sources alone: another
    quantity.

    Args:
        fused: (N, 1, H, W) whole gray levels 0..255, uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        undefined: Value of the term in which both images are constant, 0/0.

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN, values outside [0, 255] or fractional.

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> normalized_mutual_information(image, image, image.flip(-2)).total.item()
        2.0
    """
    images = check_levels(fused=fused, first=first, second=second)
    h_fused, *h_sources = (histogram_entropy(grey_histogram(image)) for image in images)
    terms = []
    for source, h_source in zip(images[1:], h_sources):
        both = h_fused + h_source
        information = (both - histogram_entropy(joint_histogram(images[0], source).flatten(1))).clamp_min(0)
        terms.append(torch.where(both > 0, 2 * information / both, undefined))
    return PerSource.of(*terms, reduction='sum')
