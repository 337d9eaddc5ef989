"""Information that passes from each source to the fused image, pixel by pixel at four scales; the basis of VIF and
VIFF.
"""

import math
from typing import Iterator, List, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .filters import gaussian_taps
from .windows import PAIR_TERMS, smooth_and_halve, window_means

WINDOWS = (17, 9, 5, 3)  # of the four scales; sigma is a fifth of the width
MIN_SIZE = 41  # leaves one window at the last scale
FLAT = 1e-10  # variance below which a window holds nothing


class Passage(NamedTuple):
    """One source at one scale, maps (N, 1, h, w): regression gain of the fused image on the source, information kept
    and offered (nats).
    """

    gain: Tensor
    kept: Tensor
    offered: Tensor


def passages(
    fused: Tensor, first: Tensor, second: Tensor, noise: float, saturate: bool = False
) -> Iterator[Iterator[Tuple[Passage, Passage]]]:
    r"""Model each window as a noisy channel from a source X to the fused image F.

    .. math::
        g = \frac{\sigma_{XF}}{\sigma_X^2}, \qquad kept = \ln\left(1 + \frac{g^2\sigma_X^2}{\sigma_F^2 - g\sigma_{XF} + \sigma_n^2}\right), \qquad
        offered = \ln\left(1 + \frac{\sigma_X^2}{\sigma_n^2}\right)

    A negative gain and flat windows of either image (variance below 1e-10) count as g = 0. From scale to scale the
    images are smoothed with the next scale's window, where it fits, and every second pixel is kept.

    Args:
        fused: (N, 1, H, W) float64, at least 41x41 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        noise: Variance of the observer's noise.
        saturate: Clip the products of the first scale at 255, as MATLAB does with 8-bit images.

    Yields:
        For each scale the :class:`Passage` of both sources, strip of rows by strip of rows.
    """
    images = [fused, first, second]
    for scale, size in enumerate(WINDOWS):
        taps = gaussian_taps(size, size / 5)
        if scale:
            images = smooth_and_halve(images, taps)
        means = window_means(images, PAIR_TERMS, taps, clip=255.0 if saturate and not scale else None)
        yield (_strip(*strip, noise=noise) for strip in means)


def _strip(mean_f: Tensor, square_f: Tensor, *of_sources: Tensor, noise: float) -> Tuple[Passage, Passage]:
    variance_f = square_f.addcmul_(mean_f, mean_f, value=-1).clamp_(min=0)
    textured_f = F.threshold(variance_f, FLAT, 0.0).sign_()
    variance_f.add_(noise)
    results: List[Passage] = []
    for mean, variance, covariance in (of_sources[:3], of_sources[3:]):
        variance.addcmul_(mean, mean, value=-1)
        covariance.addcmul_(mean_f, mean, value=-1).clamp_(min=0).mul_(textured_f)
        gain = covariance / F.threshold(variance, FLAT, math.inf).add_(FLAT)  # exactly 0 in flat windows
        F.threshold_(variance, FLAT, 0.0)
        rest = torch.addcmul(variance_f, gain, covariance, value=-1).clamp_(min=noise + FLAT)
        # ln(1 + x) this way takes half the time of log1p; its error of 1e-16 is absolute, and so harmless in a sum over
        # windows
        kept = (gain * gain).mul_(variance).div_(rest).add_(1).log_()
        results.append(Passage(gain, kept, variance.mul_(1 / noise).add_(1).log_()))
    return tuple(results)
