"""Visual information fidelity of the fused image to its sources (VIF)."""

from functools import partial

import torch
from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images
from .common.per_source import BothSources, PerSource
from .common.visual_information import MIN_SIZE, passages

NOISE = 2.0


def vif(
    fused: Tensor, first: Tensor, second: Tensor, saturate: bool = False, undefined: float = 1.0, reduction: str = 'sum'
) -> PerSource:
    r"""Share of each source's visual information that the fused image keeps, in the pixel domain at four scales.

    .. math:: VIF(X, F) = \frac{\sum_{s, ij} \log\left(1 + \frac{g^2\sigma_X^2}{\sigma_F^2 - g\sigma_{XF} +
        \sigma_n^2}\right)}
                                   {\sum_{s, ij} \log\left(1 + \frac{\sigma_X^2}{\sigma_n^2}\right)}, \qquad VIF =
                                   VIF(A, F) + VIF(B, F)

    with Gaussian windows of 17, 9, 5 and 3 pixels (sigma a fifth of that), :math:`g = \sigma_{XF} / \sigma_X^2` and
    :math:`\sigma_n^2 = 2`. Source: H. R. Sheikh and A. C. Bovik, IEEE Trans. Image Process. 15, 430 (2006), in the
    authors' pixel-domain variant. Each value is at least 0, 1 for an image equal to the source, above 1 where contrast
    is raised; higher is better.

    In saturated or black regions with a trace of texture g is ill-conditioned: programs and devices agree to about 1e-9
    there. Several tables call this VIFF, which is another metric (:func:`viff`). It depends on the scale of the gray
    levels: the same images in [0, 1] give 1.7 instead of 0.6. A source without any texture offers no information: 0/0,
    see ``undefined``.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 41x41 pixels.
        first: First source, same shape.
        second: Second source, same shape.
        saturate: Clip the products of gray levels at 255 at the first scale, as programs did that computed it on
            MATLAB's 8-bit images.
        undefined: Value for a source without texture; 1, as nothing could be lost. Some programs print NaN.
        reduction: What ``total`` is of the two values, ``'sum'`` or ``'mean'``.

    Returns:
        ``first`` and ``second``: fidelity to either source; ``total``: their sum or mean. Each (N,) float64.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: Shapes differ, images smaller than 41x41, NaN or values outside [0, 255], or an unknown reduction.

    Examples:
        >>> import torch
        >>> image = torch.arange(0., 2500.).remainder(251).view(1, 1, 50, 50)
        >>> round(vif(image, image, image).total.item(), 6)
        2.0
    """
    images = check_images(min_size=MIN_SIZE, fused=fused, first=first, second=second)
    return PerSource.of(*map_images(partial(_fidelity, saturate=saturate, undefined=undefined), *images), reduction)


def _fidelity(fused: Tensor, first: Tensor, second: Tensor, saturate: bool, undefined: float) -> BothSources:
    kept, offered = [0.0, 0.0], [0.0, 0.0]
    for scale in passages(fused, first, second, NOISE, saturate):
        for strip in scale:
            for i, passage in enumerate(strip):
                kept[i] = kept[i] + passage.kept.sum((1, 2, 3))
                offered[i] = offered[i] + passage.offered.sum((1, 2, 3))
    return BothSources(*(torch.where(total > 0, part / total, undefined) for part, total in zip(kept, offered)))
