"""Structural similarity, differentiable: as a map, and at several scales."""

from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
BORDERS = ('valid', 'zero')


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    offset = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weights = torch.exp(-offset.square() / (2 * sigma**2))
    return weights / weights.sum()


def gaussian_means(
    images: Sequence[Tensor], window: int = 11, sigma: float = 1.5, border: str = 'valid'
) -> List[Tensor]:
    """Weighted means of images under a Gaussian window that moves over them, all in one pass.

    Args:
        images: Tensors (N, C, H, W) floating, of equal shape.
        window: Odd side of the window.
        sigma: Standard deviation of the window in pixels.
        border: ``'valid'``: only places where the window fits; it is reduced to the largest odd number that fits when
            an image is smaller. ``'zero'``: every pixel, with zeros around the image.

    Returns:
        list: One tensor per image, (N, C, H - window + 1, W - window + 1), or (N, C, H, W) with zeros around.

    Raises:
        ValueError: ``border`` is unknown.

    Examples:
        >>> means, = gaussian_means([torch.ones(1, 1, 13, 12)])
        >>> tuple(means.shape), tuple(gaussian_means([torch.ones(1, 1, 13, 12)], border='zero')[0].shape)
        ((1, 1, 3, 2), (1, 1, 13, 12))
    """
    if border not in BORDERS:
        raise ValueError(f'border must be one of {BORDERS}, got {border!r}')
    fits = min(images[0].shape[-2:])
    pad = window // 2
    if border == 'valid':
        window, pad = min(window, fits - 1 + fits % 2), 0
    kernel = _gaussian(window, sigma, images[0])
    stacked = torch.cat(tuple(images), dim=1)
    groups = stacked.shape[1]
    stacked = F.conv2d(stacked, kernel.view(1, 1, -1, 1).expand(groups, -1, -1, -1), padding=(pad, 0), groups=groups)
    stacked = F.conv2d(stacked, kernel.view(1, 1, 1, -1).expand(groups, -1, -1, -1), padding=(0, pad), groups=groups)
    return list(stacked.split(images[0].shape[1], dim=1))


def ssim_map(
    image: Tensor,
    reference: Tensor,
    window: int = 11,
    sigma: float = 1.5,
    data_range: float = 1.0,
    border: str = 'valid',
) -> Tensor:
    """Structural similarity at every place where the Gaussian window fits into the image.

    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004): K1 = 0.01, K2 = 0.03, population moments, no border
    padding.

    Args:
        image: (N, C, H, W) floating.
        reference: Same shape.
        window: Side of the window; reduced to the largest odd number that fits when an image is smaller.
        sigma: Standard deviation of the window in pixels.
        data_range: Largest minus smallest possible value, 1 for images in [0, 1].
        border: ``'zero'`` puts zeros around both images instead and gives a value for every pixel; see
            :func:`gaussian_means`.

    Returns:
        Tensor: (N, C, H - window + 1, W - window + 1), at most 1, which an equal image reaches.
    """
    return ssim_maps(image, (reference,), window, sigma, data_range, border)[0]


def ssim_maps(
    image: Tensor,
    references: Sequence[Tensor],
    window: int = 11,
    sigma: float = 1.5,
    data_range: float = 1.0,
    border: str = 'valid',
) -> List[Tensor]:
    """:func:`ssim_map` of one image with several references, for which its own moments are computed once."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    products = [image * reference for reference in references]
    # apart from each other: references without gradient take no part in the backward pass
    mu_x, xx, *crosses = gaussian_means((image, image * image, *products), window, sigma, border)
    means = gaussian_means((*references, *(reference * reference for reference in references)), window, sigma, border)
    maps = []
    for mu_y, yy, xy in zip(means, means[len(references) :], crosses):
        product, squares = mu_x * mu_y, mu_x.square() + mu_y.square()
        maps.append((2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2)))
    return maps


def ms_ssim(image: Tensor, reference: Tensor, window: int = 11, sigma: float = 1.5, data_range: float = 1.0) -> Tensor:
    """Structural similarity at up to five scales, differentiable.

    Z. Wang et al., Asilomar Conf. Signals Syst. Comput., 1398 (2003): contrast and structure of every scale and
    luminance of the coarsest, averaged over each image and multiplied under the published exponents. Scales halve by
    means of 2x2 pixels, an odd last row or column repeated. An image too small for the window at the fifth scale is
    compared at fewer, under exponents of the same sum; negative averages count as 0.

    Args:
        image: (N, C, H, W) floating.
        reference: Same shape.
        window: Side of the window; see :func:`ssim_map`.
        sigma: Standard deviation of the window in pixels.
        data_range: Largest minus smallest possible value.

    Returns:
        Tensor: (N,), in [0, 1]; 1 for an equal image.
    """
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    scales = 1
    while scales < len(SCALE_EXPONENTS) and min(image.shape[-2:]) > (window - 1) * 2**scales:
        scales += 1
    share = sum(SCALE_EXPONENTS[:scales]) / sum(SCALE_EXPONENTS)
    exponents = [value / share for value in SCALE_EXPONENTS[:scales]]
    result = 1.0
    for scale, exponent in enumerate(exponents):
        mu_x, mu_y, xx, yy, xy = gaussian_means(
            (image, reference, image * image, reference * reference, image * reference), window, sigma
        )
        product, squares = mu_x * mu_y, mu_x.square() + mu_y.square()
        similarity = (2 * (xy - product) + c2) / (xx + yy - squares + c2)
        if scale + 1 == scales:
            similarity = similarity * (2 * product + c1) / (squares + c1)
        else:
            image, reference = _halve(image), _halve(reference)
        # the power of 0 has no gradient that a network could learn from
        result = result * similarity.mean(dim=(1, 2, 3)).clamp_min(1e-6).pow(exponent)
    return result


def _halve(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return F.avg_pool2d(F.pad(image, (0, width % 2, 0, height % 2), mode='replicate'), 2)
