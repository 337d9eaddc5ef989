"""Mutual information of local features, of M. Haghighat and others (FMI)."""
import math

import scipy.fft
import torch
from torch import Tensor

from .common.checks import check_images
from .common.per_source import PerSource

WINDOW = 3
CELLS = WINDOW * WINDOW
CHUNK = 8192  # windows at a time on the CPU: the temporaries stay in the cache
FEATURES = ('none', 'gradient', 'dct')
TINY = 1e-300


def feature_mutual_information(fused: Tensor, first: Tensor, second: Tensor, feature: str = 'none', symmetric: bool = False) -> PerSource:
    r"""Mutual information between small windows of the fused image and of its sources (fast-FMI).

    .. math:: FMI = \frac{1}{2} \sum_X \overline{\frac{2\,[H(F) + H(X) - H(F, X)]}{H(F) + H(X)}}

    over all windows of 3x3 feature values. A window stretched to [0, 1] and divided by its sum is read as a distribution over its nine places, column
    by column; the joint one is the blend :math:`\varphi\,U + (1 - \varphi)\,F X^T`, with U the extreme joint distribution of the two (Frechet's upper
    bound, or the lower one if the windows are anticorrelated) and :math:`\varphi` the correlation of the windows over that of U. Equal windows
    score 1, and so do two flat ones. Sources: M. Haghighat, A. Aghagolzadeh and H. Seyedarabi, Comput. Electr. Eng. 37, 744 (2011); M. Haghighat
    and M. A. Razian, AICT 2014, 1. In [0, 1] but for rare windows, since the blend may turn negative; higher is better.

    What papers print as FMI or FMI_pixel is the program's default feature, edges by MATLAB's ``edge``, and does not compare with any value here.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 3x3 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        feature: ``'none'``: gray levels; ``'gradient'``: horizontal central differences; ``'dct'``: coefficients of the cosine transform of the
            whole image.
        symmetric: Whether both sources are treated alike. The program stretches the fused window before it compares it with the visible image (here
            the first source), so that equal windows with all contrast in one pixel score 0 there unless the infrared image equals them too.

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
    features = [_extract(image.squeeze(1), feature) for image in images]
    sums = torch.zeros(2, len(fused), dtype=torch.float64, device=fused.device)
    for n in range(len(fused)):
        # (9, windows), places in column-major order, so that arithmetic runs along contiguous windows
        windows = [values[n].unfold(0, WINDOW, 1).unfold(1, WINDOW, 1).permute(3, 2, 0, 1).reshape(CELLS, -1) for values in features]
        step = windows[0].shape[1] if fused.is_cuda else CHUNK
        for raw_f, *raw_sources in zip(*(values.split(step, dim=1) for values in windows)):
            stretched = [_stretch(raw) for raw in (raw_f, *raw_sources)]
            pdf_f, *pdfs = (values / values.sum(0) for values in stretched)
            flat_f, *flats = ((values == 1).all(0) for values in stretched)  # a window with contrast has a zero
            same = [(raw == raw_f).all(0) for raw in raw_sources]
            if not symmetric:
                same[0] = torch.where(same[1], same[0], (raw_sources[0] == stretched[0]).all(0))
            for i, (pdf, flat) in enumerate(zip(pdfs, flats)):
                information = _normalised_information(pdf_f, pdf)
                information.masked_fill_(flat & flat_f | same[i], 1)
                sums[i, n] += information.sum()
    first_value, second_value = sums / windows[0].shape[1]
    return PerSource(first_value, second_value, (first_value + second_value) / 2)


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


def _log(values: Tensor) -> Tensor:
    """Logarithm that is finite at zero, so that zero times it is zero."""
    return values.clamp_min(TINY).log_()


def _normalised_information(f: Tensor, x: Tensor) -> Tensor:
    """(windows,) normalized mutual information of distributions (9, windows)."""
    centred_f, centred_x = f - f.mean(0), x - x.mean(0)
    product = (centred_f * centred_x).sum(0)
    correlation = product / (centred_f.square().sum(0) * centred_x.square().sum(0)).sqrt_()
    correlation.masked_fill_(product == 0, 0)
    # the lower bound of (F, X) is the upper bound of F and X in reverse order
    x = torch.where(correlation < 0, x.flip(0), x)
    correlation.abs_()
    places = torch.arange(1., CELLS + 1, dtype=f.dtype, device=f.device)[:, None]
    mean_f, mean_x = (places * f).sum(0), (places * x).sum(0)
    var_f, var_x = ((places.square() * pdf).sum(0).sub_(mean * mean) for pdf, mean in ((f, mean_f), (x, mean_x)))
    log_f, log_x = _log(f), _log(x)
    entropy_f, entropy_x = ((pdf * log).sum(0).neg_() for pdf, log in ((f, log_f), (x, log_x)))
    rows, columns, mass = _staircase(f.cumsum(0), x.cumsum(0))
    covariance = (mass * (rows + 1) * (columns + 1)).sum(0).sub_(mean_f * mean_x)
    share = correlation * (var_f * var_x).sqrt_() / covariance
    share.masked_fill_((correlation == 0) | (var_f <= 0) | (var_x <= 0), 0)
    # entropy of the independent part in closed form, then the at most 17 places where the extreme distribution adds to it
    rest = 1 - share
    log_rest = _log(rest.abs())
    independent = rest * (entropy_f + entropy_x - log_rest)
    cell = f.gather(0, rows).mul_(x.gather(0, columns)).mul_(rest)
    cell_log = log_f.gather(0, rows).add_(log_x.gather(0, columns)).add_(log_rest).mul_(cell)
    joint = cell.add_(mass.mul_(share))
    entropy = cell_log.sub_(_log(joint.abs()).mul_(joint)).sum(0).add_(independent)
    total = entropy_f.add_(entropy_x)
    return (total - entropy).mul_(2).div_(total).masked_fill_(total == 0, 0)


def _staircase(cdf_f: Tensor, cdf_x: Tensor):
    """Cells with mass of the upper bound min(F, X): their rows, columns (17, windows) and masses, walking from the first to the last cell."""
    n_windows, steps = cdf_f.shape[1], 2 * CELLS - 1
    rows = torch.zeros(steps, n_windows, dtype=torch.int64, device=cdf_f.device)
    columns, reached = torch.zeros_like(rows), torch.empty(steps, n_windows, dtype=cdf_f.dtype, device=cdf_f.device)
    cdf_f[-1:], cdf_x[-1:] = 1, 1
    for k in range(steps):
        level_f, level_x = cdf_f.gather(0, rows[k:k + 1])[0], cdf_x.gather(0, columns[k:k + 1])[0]
        torch.minimum(level_f, level_x, out=reached[k])
        if k + 1 < steps:
            down = (level_f <= level_x) & (rows[k] < CELLS - 1) | (columns[k] == CELLS - 1)
            torch.add(rows[k], down, out=rows[k + 1])
            torch.add(columns[k], ~down, out=columns[k + 1])
    return rows, columns, torch.cat([reached[:1], reached.diff(dim=0)])
