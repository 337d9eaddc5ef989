"""Mutual information between the fused image and its sources (MI)."""

from torch import Tensor

from .common.histograms import check_levels, grey_histogram, histogram_entropy, joint_histogram
from .common.per_source import PerSource


def mutual_information(
    fused: Tensor, first: Tensor, second: Tensor, base: float = 2.0, merge_top: bool = False
) -> PerSource:
    r"""How many bits about each source the fused image holds, pixel by pixel.

    .. math:: I(F, X) = H(F) + H(X) - H(F, X), \qquad MI = I(F, A) + I(F, B)

    from the joint histogram of 256x256 gray levels. Source: G. Qu, D. Zhang and P. Yan, Electron. Lett. 38, 313 (2002).
    In [0, 16] bits for the sum; higher is better. A constant image holds 0 about anything.

    Programs print bits or nats (lower by the factor ln 2 = 0.693). Some stretch every image to 0..255 first, which
    renames the levels and changes nothing. One adds 1 to 8-bit levels, by which 254 and 255 fall together in the joint
    histogram.

    Args:
        fused: (N, 1, H, W) whole gray levels 0..255, uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        base: Of the logarithm: 2 gives bits, e nats.
        merge_top: Count 254 and 255 as one level in the joint histogram, not in H(F) and H(X): the result is slightly
            too high.

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN, values outside [0, 255] or fractional.

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> mutual_information(image, image, torch.zeros_like(image)).total.item()
        1.0
    """
    images = check_levels(fused=fused, first=first, second=second)
    h_fused, *h_sources = (histogram_entropy(grey_histogram(image), base) for image in images)
    if merge_top:
        images = [image.clamp(max=254) for image in images]
    terms = []
    for source, h_source in zip(images[1:], h_sources):
        h_joint = histogram_entropy(joint_histogram(images[0], source).flatten(1), base)
        terms.append((h_fused + h_source - h_joint).clamp_min(0))  # round-off may leave -1e-15
    return PerSource.of(*terms, reduction='sum')
