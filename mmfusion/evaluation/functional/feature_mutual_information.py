"""Mutual information of local features, of M. Haghighat and others (FMI)."""

import math
from functools import lru_cache, reduce
from typing import NamedTuple, Tuple

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from mmfusion.moved import moved_names

from .common.checks import check_images
from .common.per_source import PerSource
from .common.window_information import CELLS, STEPS, TINY, WINDOW, window_information

__getattr__ = moved_names(__name__, {'CHUNK': f'{__name__}:ROWS'})  # windows at a time were counted one by one

ROWS = 12  # rows of windows at a time on the CPU: most temporaries stay in the cache
FEATURES = ('none', 'gradient', 'dct')


def feature_mutual_information(
    fused: Tensor, first: Tensor, second: Tensor, feature: str = 'none', symmetric: bool = False
) -> PerSource:
    r"""Mutual information between small windows of the fused image and of its sources (fast-FMI).

    .. math:: FMI = \frac{1}{2} \sum_X \overline{\frac{2\,[H(F) + H(X) - H(F, X)]}{H(F) + H(X)}}

    over all windows of 3x3 feature values. A window stretched to [0, 1] and divided by its sum is read as a
    distribution over its nine places, column by column; the joint one is the blend
    :math:`\varphi\,U + (1 - \varphi)\,F X^T`, with U the extreme joint distribution of the two (Frechet's upper bound,
    or the lower one if the windows are anticorrelated) and :math:`\varphi` the correlation of the windows over that
    of U. Equal windows score 1, and so do two flat ones. Sources: M. Haghighat, A. Aghagolzadeh and H. Seyedarabi,
    Comput. Electr. Eng. 37, 744 (2011); M. Haghighat and M. A. Razian, AICT 2014, 1. In [0, 1] but for rare windows,
    since the blend may turn negative; higher is better.

    What papers print as FMI or FMI_pixel is the program's default feature, edges by MATLAB's ``edge``, and does not
    compare with any value here.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 3x3 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        feature: ``'none'``: gray levels; ``'gradient'``: horizontal central differences; ``'dct'``: coefficients of the
            cosine transform of the whole image.
        symmetric: Whether both sources are treated alike. The program stretches the fused window before it compares it
            with the visible image (here the first source), so that equal windows with all contrast in one pixel score 0
            there unless the infrared image equals them too.

    Returns:
        ``first`` and ``second``: the mean over windows for one source; ``total``: the mean of both. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Unknown feature, shapes differ, images smaller than 3x3, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.arange(256.).view(1, 1, 16, 16)
        >>> feature_mutual_information(image, image, image).total.item()
        1.0
    """
    if feature not in FEATURES:
        raise ValueError(f'feature must be one of {FEATURES}, got {feature!r}')
    images = check_images(min_size=WINDOW, fused=fused, first=first, second=second)
    if feature != 'dct' and not fused.is_cuda and all((image == image.floor()).all() for image in images):
        first_value, second_value = _of_whole_numbers(torch.cat(images, dim=1), feature, symmetric)
        return PerSource(first_value, second_value, (first_value + second_value) / 2)
    features = [_extract(image.squeeze(1), feature) for image in images]
    height, width = (length - WINDOW + 1 for length in fused.shape[-2:])
    rows = height if fused.is_cuda else ROWS
    sums = torch.zeros(2, len(fused), dtype=torch.float64, device=fused.device)
    for n in range(len(fused)):
        for top in range(0, height, rows):
            # (9, windows), places in column-major order, so that arithmetic runs along contiguous windows
            raw_f, *raw_sources = (
                torch.stack(
                    [
                        values[n, top + row : top + row + min(rows, height - top), column : column + width]
                        for column in range(WINDOW)
                        for row in range(WINDOW)
                    ]
                ).flatten(1)
                for values in features
            )
            of_fused, *of_sources = map(_describe, (raw_f, *raw_sources))
            same = [_equal(raw, raw_f) for raw in raw_sources]
            if not symmetric:
                same[0] = torch.where(same[1], same[0], _equal(raw_sources[0], _stretch(raw_f)))
            for i, of_source in enumerate(of_sources):
                information = _normalised_information(of_fused, of_source)
                information.masked_fill_(of_fused.flat & of_source.flat | same[i], 1)
                sums[i, n] += information.sum()
    first_value, second_value = sums / (height * width)
    return PerSource(first_value, second_value, (first_value + second_value) / 2)


def _of_whole_numbers(images: Tensor, feature: str, symmetric: bool) -> Tensor:
    """(2, N) mean information of whole gray levels (N, 3, H, W) or of their differences."""
    if feature == 'gradient':
        doubled, zero, one = torch.gradient(images, dim=-1)[0].mul_(2).add_(510), 510, 512
        numbers = doubled.numpy().astype(np.uint16)
    else:
        numbers, zero, one = images.numpy().astype(np.uint8), 0, 1
    return torch.from_numpy(np.stack([window_information(three, zero, one, symmetric) for three in numbers], axis=1))


def _extract(image: Tensor, feature: str) -> Tensor:
    """(N, H, W) gray levels to feature values of the same shape."""
    if feature == 'gradient':
        return torch.gradient(image, dim=-1)[0]
    if feature == 'dct' and image.is_cuda:  # torch has no such transform
        return _cosines(image.shape[1], image) @ image @ _cosines(image.shape[2], image).T
    if feature == 'dct':
        return torch.from_numpy(scipy.fft.dctn(image.numpy(), axes=(1, 2), norm='ortho'))
    return image


def _cosines(length: int, like: Tensor) -> Tensor:
    """Matrix of the orthonormal cosine transform, (frequency, place)."""
    frequency, place = torch.meshgrid(*[torch.arange(length).to(like)] * 2, indexing='ij')
    matrix = (frequency * (place + 0.5) * (math.pi / length)).cos_().mul_(math.sqrt(2 / length))
    matrix[0] /= math.sqrt(2)
    return matrix


def _stretch(window: Tensor) -> Tensor:
    """(9, windows) to [0, 1]; a flat window becomes ones."""
    low, high = window.amin(0), window.amax(0)
    return (window - low).div_(high - low).masked_fill_(low == high, 1)


def _equal(window: Tensor, other: Tensor) -> Tensor:
    """(windows,) whether all nine values agree."""
    return reduce(torch.maximum, (window - other).abs_()) == 0


class _Windows(NamedTuple):
    pdf: Tensor  # (9, windows)
    flat: Tensor  # (windows,)
    entropy: Tensor
    spread: Tensor  # sum of squares about the mean


@lru_cache(maxsize=8)
def _functionals(device: torch.device) -> Tuple[Tensor, ...]:
    """Linear functionals as matrices: sum over 9 and over 17 places, cumulation to 8 places; of a cumulated
    distribution its sum, its second moment
    (less than 81 by it), and the sum of the smaller one over all pairs of places; the latter for 16 places."""
    to_device = dict(dtype=torch.float64, device=device)
    inner = torch.arange(CELLS - 1, **to_device)
    pairs = (2 * (CELLS - 2 - inner) + 1, 2 * (2 * CELLS - 3 - torch.arange(STEPS - 1, **to_device)) + 1)
    return (
        torch.ones(1, CELLS, **to_device),
        torch.ones(1, STEPS, **to_device),
        torch.ones(CELLS - 1, CELLS, **to_device).tril(),
        torch.stack([torch.ones_like(inner), 2 * inner + 3, pairs[0]]),
        pairs[1][None],
    )


def _describe(raw: Tensor) -> _Windows:
    """Windows (9, windows) as distributions."""
    total = _functionals(raw.device)[0]
    # step by step: a reduction over a short leading dimension takes several times as long
    low = reduce(torch.minimum, raw)
    flat = low == reduce(torch.maximum, raw)
    pdf = (raw - low).masked_fill_(flat, 1)
    pdf.div_(total @ pdf)
    entropy = (total @ (pdf + TINY).log_().mul_(pdf))[0].neg_()
    return _Windows(pdf, flat, entropy, (total @ pdf.square())[0].sub_(1 / CELLS))


def _normalised_information(f: _Windows, x: _Windows) -> Tensor:
    """(windows,) normalized mutual information of distributions."""
    total, all_steps, cumulate, moments, pairs = _functionals(f.pdf.device)
    correlation = (total @ (f.pdf * x.pdf))[0].sub_(1 / CELLS).div_((f.spread * x.spread).sqrt_())
    correlation.masked_fill_(f.flat | x.flat, 0)
    # the lower bound of (F, X) is the upper bound of F and X in reverse order
    pdf_x = x.pdf.lerp(x.pdf.flip(0), (correlation < 0).to(x.pdf))
    cdf_f, cdf_x = cumulate @ f.pdf, cumulate @ pdf_x
    (sum_f, second_f, smaller_f), (sum_x, second_x, smaller_x) = moments @ cdf_f, moments @ cdf_x
    var_f, var_x = (
        CELLS**2 - second - (CELLS - sum_).square_() for second, sum_ in ((second_f, sum_f), (second_x, sum_x))
    )
    levels, mass, cell = _staircase(cdf_f, cdf_x)
    # the covariance under the upper bound is the sum of min(F_i, X_j) - F_i X_j (W. Hoeffding, 1940); all pairs of both
    # less those of each
    covariance = (pairs @ levels)[0].sub_(smaller_f).sub_(smaller_x).div_(2).addcmul_(sum_f, sum_x, value=-1)
    share = correlation.abs_().mul_((var_f * var_x).clamp_min_(0).sqrt_()).div_(covariance)
    share.masked_fill_((correlation == 0) | (var_f <= 0) | (var_x <= 0), 0)
    # entropy of the independent part in closed form, then the at most 17 places where the extreme distribution adds to
    # it
    rest = 1 - share
    log_rest = rest.abs().clamp_min_(TINY).log_()
    log_cell = (cell + TINY).log_()
    cell.mul_(rest)
    joint = cell.addcmul(mass, share)
    entropy = (all_steps @ cell)[0].mul_(log_rest).add_((all_steps @ log_cell.mul_(cell))[0])
    log_square = torch.addcmul(joint.new_tensor(TINY), joint, joint, out=mass).log_()  # the blend may be negative
    entropy.sub_((all_steps @ log_square.mul_(joint))[0], alpha=0.5)
    both = f.entropy + x.entropy
    entropy.addcmul_(rest, both - log_rest)
    return (both - entropy).mul_(2).div_(both).masked_fill_(both == 0, 0)


def _staircase(cdf_f: Tensor, cdf_x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """Cells with mass of the upper bound min(F, X), walking from the first to the last one.

    Args:
        cdf_f: (8, windows) cumulated distribution without its last value, which is 1.
        cdf_x: Likewise.

    Returns:
        The 16 values in order; mass of each of the 17 cells between them; product of the probabilities of its row and
        column.
    """
    # The last bit of a number tells from which of the two it is: as numbers in [1, 2] they can spare it, and none is
    # denormal.
    tagged_f = (cdf_f + 1).view(torch.int64).bitwise_or_(1).view(cdf_f.dtype)
    tagged_x = (cdf_x + 1).view(torch.int64).bitwise_and_(-2).view(cdf_x.dtype)
    merged = torch.cat([tagged_f, tagged_x.flip(0)])  # bitonic: rising, then falling (K. E. Batcher, 1968)
    for size in (8, 4, 2, 1):
        halves = merged.view(-1, 2, size, merged.shape[1])
        merged = torch.stack([halves[:, 0].minimum(halves[:, 1]), halves[:, 0].maximum(halves[:, 1])], dim=1).view_as(
            merged
        )
    of_f = merged.view(torch.int64).bitwise_and(1).to(merged.dtype)
    chosen = torch.stack([of_f, 1 - of_f], dim=1)
    # the next values of F and X below and above each cell
    below, above = merged.new_empty(2, STEPS, 2, merged.shape[1])
    below[0], above[-1] = 1, 2 + 4e-15  # a sum of nine may exceed 1 by rounding
    for k in range(STEPS - 1):
        torch.lerp(below[k], merged[k], chosen[k], out=below[k + 1])
    for k in reversed(range(STEPS - 1)):
        torch.lerp(above[k + 1], merged[k], chosen[k], out=above[k])
    levels = merged.sub_(1)
    mass = merged.new_empty(STEPS, merged.shape[1])
    mass[0] = levels[0]
    torch.sub(levels[1:], levels[:-1], out=mass[1:-1])
    torch.sub(1, levels[-1], out=mass[-1])
    steps = above.sub_(below)
    return levels, mass, steps[:, 0] * steps[:, 1]
