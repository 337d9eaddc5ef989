"""Structural similarity as a differentiable map."""
import torch
import torch.nn.functional as F
from torch import Tensor


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
    fits = min(image.shape[-2:])
    window = min(window, fits - 1 + fits % 2)
    channels = image.shape[1]
    kernel = _gaussian(window, sigma, image)
    moments = torch.cat([image, reference, image * image, reference * reference, image * reference], dim=1)
    groups = moments.shape[1]
    moments = F.conv2d(moments, kernel.view(1, 1, -1, 1).expand(groups, -1, -1, -1), groups=groups)
    moments = F.conv2d(moments, kernel.view(1, 1, 1, -1).expand(groups, -1, -1, -1), groups=groups)
    mu_x, mu_y, xx, yy, xy = moments.split(channels, dim=1)
    c1, c2 = (0.01 * data_range)**2, (0.03 * data_range)**2
    product, squares = mu_x * mu_y, mu_x.square() + mu_y.square()
    return (2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))
