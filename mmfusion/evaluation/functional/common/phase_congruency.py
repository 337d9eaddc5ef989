"""Phase congruency: a map of edges and corners that does not depend on contrast."""

import math
from functools import lru_cache
from typing import NamedTuple, Tuple

import numpy as np
import torch
from torch import Tensor

from .chunks import row_chunks

SCALES, ORIENTATIONS = 4, 6
SHORTEST, FACTOR = 3, 2.1  # wavelength of the finest filter in pixels, ratio of neighboring scales
BANDWIDTH, SPREAD = 0.55, math.pi / ORIENTATIONS / 1.2  # of the filters along the radius and along the angle
NOISE_SIGMAS, NOISE_RESCALE = 2, 1.7
CUT_OFF, GAIN = 0.5, 10  # frequency spread below which congruency means little, and how sharply
EPSILON = 1e-4


class PhaseCongruency(NamedTuple):
    """Feature maps of a batch.

    Attributes:
        congruency: (N, H, W) in [0, 1].
        edges: (N, H, W) largest moment over the orientations.
        corners: (N, H, W) smallest moment.
    """

    congruency: Tensor
    edges: Tensor
    corners: Tensor


class _Bank(NamedTuple):
    radial: Tensor  # (scales, H, W, 1)
    angular: Tensor  # (orientations, H, W, 2), twice the same value, for real and imaginary part
    power: Tuple[float, ...]  # per orientation: sum of squares of the finest filter
    noise: Tuple[float, ...]  # per orientation: energy of the sum of all scales under unit white noise


def phase_congruency(image: Tensor) -> PhaseCongruency:
    r"""Congruency of the phases of log-Gabor responses over scales.

    .. math::
        PC = \frac{\sum_o W_o \lfloor E_o - T_o \rfloor}{\sum_o \sum_s |a_{so}| + \epsilon}, \qquad
        E_o = \frac{|R_o|^2 - \sum_s |\mathrm{Im}(a_{so} R_o^*)|}{|R_o| + \epsilon}, \qquad R_o = \sum_s a_{so}

    with complex responses a at 4 scales (wavelengths 3, 6.3, 13.2, 27.8 pixels) and 6 orientations, a weight W for the spread over scales and a noise
    threshold T from the median response of the finest scale. Edges and corners are the principal moments of the :math:`PC_o` over the orientations.
    Source: P. Kovesi, Videre 1, no. 3 (1999), and DICTA 2003, 309; grids and constants as in the program to Z. Liu et al. (2012).

    Args:
        image: (N, H, W) float64, H and W at least 2.

    Returns:
        The feature maps.
    """
    height, width = image.shape[-2:]
    bank = _bank(height, width, image.device)
    spectrum = torch.view_as_real(torch.fft.fft2(image))
    spectra = [spectrum * radial for radial in bank.radial]
    del spectrum
    product = torch.empty_like(spectra[0])
    responses = [torch.empty_like(torch.view_as_complex(product)) for _ in range(SCALES)]
    energy, amplitude, xx, yy, xy = torch.zeros(5, *image.shape, dtype=torch.float64, device=image.device)
    for o in range(ORIENTATIONS):
        for values, response in zip(spectra, responses):
            torch.mul(values, bank.angular[o], out=product)
            torch.fft.ifft2(torch.view_as_complex(product), out=response)
        threshold = _noise_threshold(responses[0], bank.power[o], bank.noise[o])
        angle = o * math.pi / ORIENTATIONS
        for *strips, energy_o, amplitude_o, xx_o, yy_o, xy_o in row_chunks(*responses, energy, amplitude, xx, yy, xy):
            weighted, amplitudes = _weighted_energy(strips, threshold)
            energy_o += weighted
            amplitude_o += amplitudes
            square = weighted.div_(amplitudes).masked_fill_(amplitudes == 0, 0).square_()
            xx_o.add_(square, alpha=math.cos(angle) ** 2)
            yy_o.add_(square, alpha=math.sin(angle) ** 2)
            xy_o.add_(square, alpha=math.sin(angle) * math.cos(angle))
    total, difference = xx.add(yy).mul_(2 / ORIENTATIONS), xx.sub_(yy).mul_(2 / ORIENTATIONS)
    spread = xy.div_(ORIENTATIONS).square_().add_(difference.square_()).sqrt_().add_(EPSILON)
    return PhaseCongruency(energy.div_(amplitude.add_(EPSILON)), (total + spread).div_(2), total.sub_(spread).div_(2))


def _weighted_energy(strips: list, threshold: Tensor) -> Tuple[Tensor, Tensor]:
    """Energy of one orientation above the noise, weighted by the spread over scales, and the sum of the amplitudes."""
    # explicit additions: a sum over a short leading dimension takes several times as long
    evens, odds = ([torch.view_as_real(strip)[..., part].contiguous() for strip in strips] for part in (0, 1))
    amplitudes = [(even * even).add_(odd * odd).sqrt_() for even, odd in zip(evens, odds)]
    largest = amplitudes[0].maximum(amplitudes[1]).maximum(amplitudes[2]).maximum(amplitudes[3])
    amplitude, sum_even, sum_odd = map(_add, (amplitudes, evens, odds))
    deviation = _add([even.mul_(sum_odd).sub_(odd.mul_(sum_even)).abs_() for even, odd in zip(evens, odds)])
    square = sum_even.square_().add_(sum_odd.square_())
    energy = (square - deviation).div_(square.sqrt().add_(EPSILON)).sub_(threshold).clamp_min_(0)
    spread = amplitude.div(largest.add_(EPSILON)).div_(SCALES)
    return energy.div_(spread.sub_(CUT_OFF).mul_(-GAIN).exp_().add_(1)), amplitude


def _add(maps: list) -> Tensor:
    total = maps[0] + maps[1]
    for values in maps[2:]:
        total += values
    return total


def _noise_threshold(response: Tensor, power: float, noise: float) -> Tensor:
    """(N, 1, 1) energy that noise of the strength seen at the finest scale would reach."""
    even, odd = torch.view_as_real(response).unbind(-1)
    squares = (even * even).add_(odd * odd).flatten(1)
    n_pixels = squares.shape[1]
    middle = [(n_pixels - 1) // 2, n_pixels // 2]
    if squares.is_cuda:
        median = squares.sort(1).values[:, middle].mean(1)
    else:
        median = torch.from_numpy(np.partition(squares.numpy(), middle, axis=1)[:, middle].mean(1))
    tau = (median / math.log(2) / power * noise).sqrt()  # of the Rayleigh distribution
    return ((math.sqrt(math.pi / 2) + NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)) / NOISE_RESCALE * tau)[:, None, None]


@lru_cache(maxsize=2)  # a pure function of the size: 40 MB for 480x640 pixels
def _bank(height: int, width: int, device: torch.device) -> _Bank:
    # frequencies of an odd length reach from -1/2 to 1/2 here, as in the program
    y, x = (
        np.fft.ifftshift((np.arange(length) - length // 2) / (length - length % 2))[:, None]
        for length in (height, width)
    )
    x = x.T
    radius, theta = np.hypot(x, y), np.arctan2(-y, x)
    radius[0, 0] = 1
    # the low pass has frequencies of its own, and its shift is off by one for odd lengths, as in the program
    own_y, own_x = (np.fft.fftshift((np.arange(length) - length // 2) / length)[:, None] for length in (height, width))
    low_pass = 1 / (1 + (np.hypot(own_x.T, own_y) / 0.45) ** 30)
    radial = []
    for scale in range(SCALES):
        radial.append(
            np.exp(-(np.log(radius * SHORTEST * FACTOR**scale) ** 2) / (2 * math.log(BANDWIDTH) ** 2)) * low_pass
        )
        radial[-1][0, 0] = 0
    angular, power, noise = [], [], []
    total = sum(radial)
    for o in range(ORIENTATIONS):
        turned = theta - o * math.pi / ORIENTATIONS
        distance = np.abs(np.arctan2(np.sin(turned), np.cos(turned)))
        angular.append(np.exp(-(distance**2) / (2 * SPREAD**2)))
        power.append(np.square(radial[0] * angular[o]).sum())
        # the real parts of the impulse responses, whose energy Parseval gives from the even part of the filters
        response = total * angular[o]
        noise.append(np.square((response + np.roll(response[::-1, ::-1], (1, 1), (0, 1))) / 2).sum())
    to_device = dict(dtype=torch.float64, device=device)
    return _Bank(
        torch.as_tensor(np.stack(radial), **to_device)[..., None],
        torch.as_tensor(np.stack(angular), **to_device)[..., None].repeat(1, 1, 1, 2),
        tuple(power),
        tuple(noise),
    )
