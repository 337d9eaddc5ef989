"""Structural similarity, differentiable: as a map, and at several scales."""
import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    offset = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weights = torch.exp(-offset.square() / (2 * sigma**2))
    return weights / weights.sum()


def ssim_map(image: Tensor, reference: Tensor, window: int = 11, sigma: float = 1.5, data_range: float = 1.0) -> Tensor:
    """Structural similarity at every place where the Gaussian window fits into the image.

    Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004): K1 = 0.01, K2 = 0.03, population moments, no border padding.

    Args:
        image: (N, C, H, W) floating.
        reference: Same shape.
        window: Side of the window; reduced to the largest odd number that fits when an image is smaller.
        sigma: Standard deviation of the window in pixels.
        data_range: Largest minus smallest possible value, 1 for images in [0, 1].

    Returns:
        Tensor: (N, C, H - window + 1, W - window + 1), at most 1, which an equal image reaches.
    """
    mu_x, mu_y, xx, yy, xy = _moments(image, reference, window, sigma)
    c1, c2 = (0.01 * data_range)**2, (0.03 * data_range)**2
    product, squares = mu_x * mu_y, mu_x.square() + mu_y.square()
    return (2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))


def ms_ssim(image: Tensor, reference: Tensor, window: int = 11, sigma: float = 1.5, data_range: float = 1.0) -> Tensor:
    """Structural similarity at up to five scales, differentiable.

    Z. Wang et al., Asilomar Conf. Signals Syst. Comput., 1398 (2003): contrast and structure of every scale and luminance of the coarsest, averaged
    over each image and multiplied under the published exponents. Scales halve by means of 2x2 pixels, an odd last row or column repeated. An image
    too small for the window at the fifth scale is compared at fewer, under exponents of the same sum; negative averages count as 0.

    Args:
        image: (N, C, H, W) floating.
        reference: Same shape.
        window: Side of the window; see :func:`ssim_map`.
        sigma: Standard deviation of the window in pixels.
        data_range: Largest minus smallest possible value.

    Returns:
        Tensor: (N,), in [0, 1]; 1 for an equal image.
    """
    c1, c2 = (0.01 * data_range)**2, (0.03 * data_range)**2
    scales = 1
    while scales < len(SCALE_EXPONENTS) and min(image.shape[-2:]) > (window - 1) * 2**scales:
        scales += 1
    share = sum(SCALE_EXPONENTS[:scales]) / sum(SCALE_EXPONENTS)
    exponents = [value / share for value in SCALE_EXPONENTS[:scales]]
    result = 1.0
    for scale, exponent in enumerate(exponents):
        mu_x, mu_y, xx, yy, xy = _moments(image, reference, window, sigma)
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


def _moments(image: Tensor, reference: Tensor, window: int, sigma: float) -> 'tuple[Tensor, ...]':
    """Means of both images, of their squares and of their product under the window, which shrinks to the largest odd number that fits."""
    fits = min(image.shape[-2:])
    window = min(window, fits - 1 + fits % 2)
    channels = image.shape[1]
    kernel = _gaussian(window, sigma, image)
    moments = torch.cat([image, reference, image * image, reference * reference, image * reference], dim=1)
    groups = moments.shape[1]
    moments = F.conv2d(moments, kernel.view(1, 1, -1, 1).expand(groups, -1, -1, -1), groups=groups)
    moments = F.conv2d(moments, kernel.view(1, 1, 1, -1).expand(groups, -1, -1, -1), groups=groups)
    return moments.split(channels, dim=1)
