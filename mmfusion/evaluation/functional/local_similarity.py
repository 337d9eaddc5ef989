"""Similarity to one source or the other, chosen window by window: C. Yang (QY) and N. Cvejic (QC)."""

from typing import NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.filters import gaussian_taps
from .common.masks import indicator
from .common.per_source import PerSource
from .common.windows import PAIR_TERMS, window_means

WINDOW, SIGMA = 7, 1.5
TINY = 2e-16  # C1 and C2: only there to make 0 / 0 one
FLAT = (
    1e-8  # moments below are rounding noise: one pixel of a flat window off by one gray level gives a variance of 1e-3
)
UNDEFINED = ('half', 'nan', 'drop')


class LocalSimilarity(NamedTuple):
    """Both metrics of one image.

    Attributes:
        yang: QY.
        cvejic: QC.
    """

    yang: PerSource
    cvejic: PerSource


def local_similarity(
    fused: Tensor, first: Tensor, second: Tensor, undefined: str = 'half', clamp_weight: bool = True
) -> LocalSimilarity:
    r"""Structural similarity with the source that has more contrast (QY), or that the fused image follows (QC).

    .. math::
        Q_Y &= \overline{\begin{cases} \lambda\, s_A + (1 - \lambda)\, s_B & s_{AB} \ge 0.75 \\ \max(s_A, s_B) & \text{else} \end{cases}},
        \qquad \lambda = \frac{\sigma_A^2}{\sigma_A^2 + \sigma_B^2} \\
        Q_C &= \overline{\kappa\, s_A + (1 - \kappa)\, s_B}, \qquad \kappa = \frac{\sigma_{AF}}{\sigma_{AF} + \sigma_{BF}} \text{ within } [0, 1]

    with the structural similarities :math:`s_A, s_B` of the fused image with the sources and :math:`s_{AB}` of the
    sources, in Gaussian windows of 7x7 pixels (sigma 1.5) that lie inside the image, and without the stabilizing
    constants of SSIM (they are 2e-16). Sources: C. Yang et al., Inf. Fusion 9, 156 (2008); N. Cvejic et al., Int. J.
    Signal Process. 2, 178 (2005). In [-1, 1], 1 only where the fused image equals a source; higher is better.

    **Flat windows.** Without a stabilizer, a window in which two images are flat is 0/0, and programs return what
    rounding makes of it, up to 4.98 for a metric that cannot exceed 1. Here variances below 1e-8 are zero, and the
    formulas hold as in exact arithmetic: two flat windows are alike but for their brightness, a flat and a textured one
    have nothing in common (0). The weights :math:`\lambda, \kappa` remain 0/0 where both sources (for QC: the fused
    image, or both sources) are flat; ``undefined`` says what then. Covariances that cancel leave :math:`\kappa`
    infinite: it becomes 1/2 with ``'half'``. QY equals that of the programs where no window is flat in two of the
    images; QC, which there hangs on the sign of a rounding error, where no window is flat in any.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 7x7 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        undefined: What becomes of windows whose weight is 0/0: ``'half'`` weighs both sources alike, ``'nan'`` makes
            the image NaN (the programs of Liu), ``'drop'`` leaves the windows out of the mean (MEFB; NaN if none
            remains).
        clamp_weight: Where :math:`\kappa` leaves [0, 1], as one of the covariances is negative: clamp it, as Cvejic
            writes. False does what the programs do: the window scores 1 if the fused image runs against ``first`` and 0
            if it runs against ``second`` (their order is infrared, visible), so that swapping the sources changes the
            value.

    Returns:
        Two results, each with ``total``, the published value, and ``first`` and ``second``, the mean similarity with
        either source. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than the window, NaN or values outside [0, 255], or ``undefined`` is
            none of its words.

    Examples:
        >>> import torch
        >>> image = torch.arange(64.).view(1, 1, 8, 8)
        >>> result = local_similarity(image, image, torch.zeros_like(image))
        >>> result.yang.total.item(), result.cvejic.total.item(), result.yang.second.abs().item() < 1e-12
        (1.0, 1.0, True)
    """
    if undefined not in UNDEFINED:
        raise ValueError(f'undefined must be one of {UNDEFINED}, got {undefined!r}')
    images = check_images(min_size=WINDOW, fused=fused, first=first, second=second)
    return map_images(lambda *chunk: _local_similarity(*chunk, undefined, clamp_weight), *images)


def _local_similarity(
    fused: Tensor, first: Tensor, second: Tensor, undefined: str, clamp_weight: bool
) -> LocalSimilarity:
    zero, windows = torch.zeros(len(fused), dtype=torch.float64, device=fused.device), 0
    sum_a, sum_b, yang, cvejic, n_yang, n_cvejic = (zero.clone() for _ in range(6))
    for mu_f, ff, mu_a, aa, fa, mu_b, bb, fb, ab in window_means(
        (fused, first, second), (*PAIR_TERMS, (1, 2)), gaussian_taps(WINDOW, SIGMA)
    ):
        windows += mu_f[0].numel()
        squares = [mu * mu for mu in (mu_f, mu_a, mu_b)]
        var_f, var_a, var_b = (_without_noise(moment.sub_(square)) for moment, square in zip((ff, aa, bb), squares))
        similar_a, cov_a = _similarity(mu_f * mu_a, fa, squares[0] + squares[1], var_f, var_a)
        similar_b, cov_b = _similarity(mu_f * mu_b, fb, squares[0] + squares[2], var_f, var_b)
        alike = indicator(
            torch.ge, _similarity(mu_a.mul_(mu_b), ab, squares[1].add_(squares[2]), var_a, var_b)[0], 0.75
        )
        sum_a += similar_a.flatten(1).sum(1)
        sum_b += similar_b.flatten(1).sum(1)

        weight = _weight(var_a, var_b, undefined)
        best = torch.maximum(similar_a, similar_b)
        if undefined != 'half':
            best.masked_fill_(weight.isnan(), torch.nan)
        _accumulate(best.lerp_(torch.lerp(similar_b, similar_a, weight), alike), yang, n_yang, undefined)

        weight = _weight(cov_a, cov_b, undefined)
        against_a, against_b = (None, None) if clamp_weight else (weight < 0, weight > 1)
        score = similar_b.lerp_(similar_a, weight.clamp_(0, 1))
        if not clamp_weight:  # there the weight is that of the infrared image
            score.masked_fill_(against_b, 0).masked_fill_(against_a, 1)
        _accumulate(score, cvejic, n_cvejic, undefined)
    first_mean, second_mean = sum_a / windows, sum_b / windows
    return LocalSimilarity(
        PerSource(first_mean, second_mean, yang / n_yang), PerSource(first_mean, second_mean, cvejic / n_cvejic)
    )


def _without_noise(variance: Tensor) -> Tensor:
    return F.threshold_(variance, FLAT, 0.0)


def _similarity(product: Tensor, cross: Tensor, squares: Tensor, var_x: Tensor, var_y: Tensor) -> Tuple[Tensor, Tensor]:
    """Structural similarity and covariance of each window; overwrites the first three. A covariance that is rounding
    noise is zero.
    """
    textured = torch.minimum(var_x, var_y).sign_()
    covariance = F.hardshrink(cross.sub_(product).mul_(textured), FLAT)
    luminance = product.mul_(2).add_(TINY).div_(squares.add_(TINY))
    return (2 * covariance).add_(TINY).div_((var_x + var_y).add_(TINY)).mul_(luminance), covariance


def _weight(of_a: Tensor, of_b: Tensor, undefined: str) -> Tensor:
    """Share of a; where the sum is zero 1/2, or NaN (of two zeros) and infinite (of opposites)."""
    both = F.hardshrink(of_a + of_b, FLAT)  # opposites leave noise
    if undefined != 'half':
        return of_a / both
    zero = indicator(torch.eq, both, 0)
    return of_a.lerp(of_a.new_tensor(0.5), zero).div_(both.add_(zero))


def _accumulate(score: Tensor, total: Tensor, count: Tensor, undefined: str) -> None:
    if undefined == 'drop':
        kept = ~score.isnan()
        total += score.nan_to_num_(nan=0).flatten(1).sum(1)
        count += kept.flatten(1).sum(1)
    else:
        total += score.flatten(1).sum(1)
        count += score[0].numel()
