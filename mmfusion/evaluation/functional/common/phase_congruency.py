"""Phase congruency: a map of edges and corners that does not depend on contrast."""

import math
from functools import lru_cache
from typing import Callable, Dict, NamedTuple, Tuple

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
TINY = 1e-300
ROWS = 24  # at a time on the CPU: all buffers stay in the cache


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

    with complex responses a at 4 scales (wavelengths 3, 6.3, 13.2, 27.8 pixels) and 6 orientations, a weight W for the
    spread over scales and a noise threshold T from the median response of the finest scale. Edges and corners are the
    principal moments of the :math:`PC_o` over the orientations. Source: P. Kovesi, Videre 1, no. 3 (1999), and DICTA
    2003, 309; grids and constants as in the program to Z. Liu et al. (2012).

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
    responses = torch.empty(SCALES, *image.shape, dtype=torch.complex128, device=image.device)
    energy, amplitude, xx, yy, xy = torch.zeros(5, *image.shape, dtype=torch.float64, device=image.device)
    buffers: Dict[torch.Size, _Buffers] = {}
    for o in range(ORIENTATIONS):
        for values, response in zip(spectra, responses):
            torch.mul(values, bank.angular[o], out=product)
            torch.fft.ifft2(torch.view_as_complex(product), out=response)
        threshold = _noise_threshold(responses[0], bank.power[o], bank.noise[o])
        angle = o * math.pi / ORIENTATIONS
        for response, energy_o, amplitude_o, xx_o, yy_o, xy_o in row_chunks(
            responses, energy, amplitude, xx, yy, xy, rows=ROWS
        ):
            if response.shape not in buffers:
                buffers[response.shape] = _Buffers(response)
            weighted, amplitudes = buffers[response.shape](response, threshold)
            energy_o += weighted
            amplitude_o += amplitudes
            square = weighted.div_(amplitudes.add_(TINY)).square_()
            xx_o.add_(square, alpha=math.cos(angle) ** 2)
            yy_o.add_(square, alpha=math.sin(angle) ** 2)
            xy_o.add_(square, alpha=math.sin(angle) * math.cos(angle))
    total, difference = xx.add(yy).mul_(2 / ORIENTATIONS), xx.sub_(yy).mul_(2 / ORIENTATIONS)
    spread = xy.div_(ORIENTATIONS).square_().add_(difference.square_()).sqrt_().add_(EPSILON)
    return PhaseCongruency(energy.div_(amplitude.add_(EPSILON)), (total + spread).div_(2), total.sub_(spread).div_(2))


class _Buffers:
    """Energy of a few rows: memory that is new costs more than the arithmetic."""

    def __init__(self, response: Tensor):
        self.evens, self.odds, self.amplitudes = torch.empty(
            3, *response.shape, dtype=torch.float64, device=response.device
        )
        self.even, self.odd, self.largest, self.root = torch.empty(
            4, *response.shape[1:], dtype=torch.float64, device=response.device
        )

    def __call__(self, response: Tensor, threshold: Tensor) -> Tuple[Tensor, Tensor]:
        """Energy of one orientation above the noise, weighted by the spread over scales, and the sum of the amplitudes.

        Args:
            response: (scales, N, rows, W) complex.
            threshold: (N, 1, 1).

        Returns:
            Two of the buffers, (N, rows, W).
        """
        evens, odds, amplitudes = self.evens, self.odds, self.amplitudes
        evens.copy_(response.real)
        odds.copy_(response.imag)
        torch.mul(evens, evens, out=amplitudes).addcmul_(odds, odds).sqrt_()
        largest = _reduce(torch.maximum, amplitudes, self.largest)
        even, odd = _reduce(torch.add, evens, self.even), _reduce(torch.add, odds, self.odd)
        amplitude = _reduce(torch.add, amplitudes, self.root)
        # the spread over scales, before its buffer is needed
        weight = (
            torch.div(amplitude, largest.add_(EPSILON), out=largest)
            .mul_(-GAIN / SCALES)
            .add_(GAIN * CUT_OFF)
            .exp_()
            .add_(1)
        )
        # parts across the mean phase; they sum to zero
        evens.mul_(odd)
        across = evens.addcmul_(odds, even, value=-1).abs_()
        square = even.square_().addcmul_(odd, odd)
        deviation = _reduce(torch.add, across, self.odd)
        root = torch.sqrt(square, out=amplitudes[1]).add_(EPSILON)
        energy = square.sub_(deviation).div_(root).sub_(threshold).clamp_min_(0)
        return energy.div_(weight), amplitude


def _reduce(function: Callable, maps: Tensor, out: Tensor) -> Tensor:
    """Step by step: a reduction over a short leading dimension takes several times as long."""
    function(maps[0], maps[1], out=out)
    for values in maps[2:]:
        function(out, values, out=out)
    return out


def _noise_threshold(response: Tensor, power: float, noise: float) -> Tensor:
    """(N, 1, 1) energy that noise of the strength seen at the finest scale would reach."""
    even, odd = torch.view_as_real(response).unbind(-1)
    squares = torch.mul(even, even).addcmul_(odd, odd).flatten(1)
    if squares.is_cuda:
        n_pixels = squares.shape[1]
        median = squares.sort(1).values[:, [(n_pixels - 1) // 2, n_pixels // 2]].mean(1)
    else:
        median = torch.tensor([_median(values) for values in squares.numpy()], dtype=torch.float64)
    tau = (median / math.log(2) / power * noise).sqrt()  # of the Rayleigh distribution
    return ((math.sqrt(math.pi / 2) + NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)) / NOISE_RESCALE * tau)[:, None, None]


def _median(values: np.ndarray) -> float:
    """Median of many numbers: only those near the median of every 64th one are put into order."""
    middle = [(len(values) - 1) // 2, len(values) // 2]
    sample = np.sort(values[::64])
    margin = 3 * math.isqrt(len(sample)) + 1  # six standard deviations of the rank
    low, high = len(sample) // 2 - margin, len(sample) // 2 + margin
    if low < 0 or high >= len(sample):
        return np.partition(values, middle)[middle].mean()
    above = values >= sample[low]
    near = values[above & (values <= sample[high])]
    ranks = [rank - len(values) + np.count_nonzero(above) for rank in middle]
    if ranks[0] < 0 or ranks[1] >= len(near):  # an unlucky sample
        return np.partition(values, middle)[middle].mean()
    return np.partition(near, ranks)[ranks].mean()


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
