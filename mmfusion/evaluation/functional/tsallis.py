"""Information between the fused image and its sources by the entropy of Tsallis (QTE)."""

from typing import Optional

import torch
from torch import Tensor

from .common.histograms import check_levels, grey_histogram, histogram_entropy, joint_histogram
from .common.per_source import PerSource

NAVA, CVEJIC = 0.43137, 1.85  # q of the two papers


def tsallis_information(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    q: float = NAVA,
    norm: Optional[str] = 'tsallis',
    transposed: bool = False,
    undefined: float = 0.0,
) -> PerSource:
    r"""Mutual information in the sense of Tsallis, whose order q weighs rare and frequent pairs of levels differently.

    .. math:: I^q(X, Y) = \frac{1}{1 - q} \left( 1 - \sum_{ij} \frac{p_{ij}^q}{(p_i p_j)^{q - 1}} \right), \qquad
        Q_{TE} = \frac{I^q(A, F) + I^q(B, F)}{H^q(A) + H^q(B) - I^q(A, B)}

    with the Tsallis entropy :math:`H^q(X) = (1 - \sum p_i^q) / (q - 1)`. Sources: N. Cvejic et al., Electron. Lett. 42,
    626 (2006), q = 1.85, no denominator; R. Nava, B. Escalante-Ramirez and G. Cristobal, SPIE Newsroom (2008) and Z.
    Liu et al., IEEE Trans. Pattern Anal. Mach. Intell. 34, 94 (2012), q = 0.43137. Not negative with these choices;
    higher is better. Without the denominator it has no bound.

    The programs differ from their papers: they pair :math:`p_{ij}` with the marginals of the swapped images, so that
    the value depends on which numbers the levels carry (they stretch every image to 0..255 first), and the denominator
    is the sum of the Shannon entropies raised to the power q **plus** :math:`I^q(A, B)`. Their values lie in 0.2..0.6
    (10..40000 without the denominator) where the formulas give 0.01..0.1.

    Args:
        fused: (N, 1, H, W) whole gray levels 0..255, uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        q: Order, positive and not 1.
        norm: Denominator: ``'tsallis'`` as above, ``'shannon'`` as in the programs, None for none.
        transposed: Stretch and swap the marginals as the programs do.
        undefined: Value where the denominator is 0 (both sources constant).

    Returns:
        ``first`` and ``second``: the two terms of the fraction; ``total``: their sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN, values outside [0, 255] or fractional, or an option that does not exist.

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> round(tsallis_information(image, image, image, q=1.85, norm=None).first.item(), 4)  # (1 - 2 (1/2)^(2 - q)) / (1 - q)
        0.9441
    """
    if norm not in ('tsallis', 'shannon', None):
        raise ValueError(f"norm must be 'tsallis', 'shannon' or None, got {norm!r}")
    if q <= 0 or q == 1:
        raise ValueError(f'q must be positive and not 1, got {q}')
    fused, first, second = check_levels(fused=fused, first=first, second=second)
    if transposed:
        fused, first, second = map(_stretch, (fused, first, second))
    terms = [_information(joint_histogram(source, fused), q, transposed) for source in (first, second)]
    if norm is None:
        return PerSource.of(*terms, reduction='sum')
    between = _information(joint_histogram(first, second), q, transposed)
    histograms = [grey_histogram(source) for source in (first, second)]
    if norm == 'tsallis':
        below = sum(_entropy(counts, q) for counts in histograms) - between
    else:
        below = sum(histogram_entropy(counts) ** q for counts in histograms) + between
    return PerSource.of(*(torch.where(below > 0, term / below, undefined) for term in terms), reduction='sum')


def _stretch(image: Tensor) -> Tensor:
    """Gray levels from 0 to 255, rounded half up; a constant image becomes 0."""
    low, high = (extreme(image, dim=(1, 2, 3), keepdim=True).double() for extreme in (torch.amin, torch.amax))
    return (image.double() - low).div_((high - low).clamp_min(1)).mul_(255).add_(0.5).to(torch.uint8)


def _information(counts: Tensor, q: float, transposed: bool) -> Tensor:
    """I^q of joint histograms (N, 256, 256)."""
    p = counts / counts.sum((1, 2), keepdim=True)
    rows, columns = p.sum(2), p.sum(1)
    if transposed:
        rows, columns = columns, rows
    expected = rows[:, :, None] * columns[:, None]
    # p (p / expected)^(q - 1), which leaves out what is not expected, as the programs do
    ratio = torch.where((p > 0) & (expected > 0), p / expected, 0.0)
    terms = torch.where(ratio > 0, p * ratio.pow(q - 1), 0.0)
    return (1 - terms.sum((1, 2))) / (1 - q)


def _entropy(counts: Tensor, q: float) -> Tensor:
    """H^q of histograms (N, 256)."""
    return (1 - (counts / counts.sum(1, keepdim=True)).pow(q).sum(1)) / (q - 1)
