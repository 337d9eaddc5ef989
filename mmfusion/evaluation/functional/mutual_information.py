"""Mutual information between the fused image and its sources (MI)."""
from torch import Tensor

from .checks import check_images
from .entropy import batch_histogram, histogram_entropy
from .per_source import PerSource


def mutual_information(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
    r"""How many bits about each source the fused image holds, pixel by pixel.

    .. math:: I(F, X) = H(F) + H(X) - H(F, X), \qquad MI = I(F, A) + I(F, B)

    from the joint histogram of 256x256 grey levels, base 2. Source: G. Qu, D. Zhang and P. Yan, Electron. Lett. 38, 313 (2002).
    In [0, 16] bits for the sum; higher is better. Programs that print nats are lower by the factor ln 2 = 0.693.

    Args:
        fused: (N, 1, H, W) whole grey levels 0..255, uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.

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
    levels = [image.flatten(1).long() for image in check_images(integers=True, fused=fused, first=first, second=second)]
    h_fused, *h_sources = (histogram_entropy(batch_histogram(x, 256)) for x in levels)
    terms = []
    for source, h_source in zip(levels[1:], h_sources):
        h_joint = histogram_entropy(batch_histogram(levels[0] * 256 + source, 256 * 256))
        terms.append((h_fused + h_source - h_joint).clamp_min(0))  # round-off may leave -1e-15
    return PerSource(*terms, total=terms[0] + terms[1])
