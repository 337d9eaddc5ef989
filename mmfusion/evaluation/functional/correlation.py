"""Correlation of the fused image with its sources (CC), and of what each source added to it (SCD)."""
import torch
from torch import Tensor

from .checks import check_images
from .chunks import map_images
from .per_source import PerSource

ROUND_OFF = 1e-12  # standard deviation in grey levels below which an image is constant


def correlation(fused: Tensor, first: Tensor, second: Tensor, undefined: float = 0.) -> PerSource:
    r"""Linear correlation of the fused image with each source.

    .. math:: CC = \frac{r(F, A) + r(F, B)}{2}

    with Pearson's r over all pixels. Source: S. S. Han et al., J. Korean Soc. Remote Sens. 24, 573 (2008). In [-1, 1]; higher is better.
    All programs agree.

    Args:
        fused: (N, 1, H, W) grey levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        undefined: Value of r where an image is constant, 0/0.

    Returns:
        ``first`` and ``second``: the two terms; ``total``: their mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0., 255.], [0., 255.]]]])
        >>> correlation(image, image, 255 - image).second.item()
        -1.0
    """
    images = check_images(fused=fused, first=first, second=second)

    def correlate(*images: Tensor) -> PerSource:
        f, a, b = map(_centre, images)
        return PerSource.of(_pearson(f, a, undefined), _pearson(f, b, undefined), reduction='mean')

    return map_images(correlate, *images)


def sum_of_correlations_of_differences(fused: Tensor, first: Tensor, second: Tensor, undefined: float = 0.) -> PerSource:
    r"""How well that which is left of the fused image without one source correlates with the other source.

    .. math:: SCD = r(F - B, A) + r(F - A, B)

    with Pearson's r over all pixels. Source: V. Aslantas and E. Bendes, AEU Int. J. Electron. Commun. 69, 1890 (2015).
    In [-2, 2]; higher is better. All programs agree.

    Args:
        fused: (N, 1, H, W) grey levels in [0, 255], uint8 or floating.
        first: First source, same shape.
        second: Second source, same shape.
        undefined: Value of a term that is 0/0: the fused image equals a source (up to a constant), or a source is constant.

    Returns:
        ``first``: r(F - second, first); ``second``: r(F - first, second); ``total``: their sum. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, NaN or values outside [0, 255].

    Examples:
        >>> import torch
        >>> first, second = torch.tensor([[[[0., 100.], [0., 100.]]]]), torch.tensor([[[[0., 0.], [100., 100.]]]])
        >>> round(sum_of_correlations_of_differences((first + second) / 2, first, second).total.item(), 9)
        1.414213562
    """
    images = check_images(fused=fused, first=first, second=second)

    def correlate(fused: Tensor, first: Tensor, second: Tensor) -> PerSource:
        pairs = ((fused - second, first), (fused - first, second))
        return PerSource.of(*(_pearson(_centre(rest), _centre(source), undefined) for rest, source in pairs), reduction='sum')

    return map_images(correlate, *images)


def _centre(image: Tensor) -> Tensor:
    image = image.flatten(1)
    return image - image.mean(1, keepdim=True)


def _pearson(x: Tensor, y: Tensor, undefined: float) -> Tensor:
    """r of centred (N, P) vectors."""
    xy, xx, yy = _dot(x, y), _dot(x, x), _dot(y, y)
    constant = torch.minimum(xx, yy) <= x.shape[1] * ROUND_OFF**2
    return torch.where(constant, undefined, xy / (xx.sqrt() * yy.sqrt())).clamp(-1, 1)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([torch.dot(a, b) for a, b in zip(x, y)])
