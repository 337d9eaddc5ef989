"""Spatial frequency of the fused image (SF)."""

from torch import Tensor

from .common.checks import check_images
from .common.chunks import map_images, row_chunks
from .correlation import inner_product


def spatial_frequency(
    fused: Tensor, divisor: str = 'differences', white: float = 255.0, fold_colour: bool = False
) -> Tensor:
    r"""Root mean square of the differences between neighboring pixels: the overall activity of the fused image.

    .. math:: SF = \sqrt{\overline{(F_{i,j+1} - F_{i,j})^2} + \overline{(F_{i+1,j} - F_{i,j})^2}}

    Source: A. M. Eskicioglu and P. S. Fisher, IEEE Trans. Commun. 43, 2959 (1995). Gray levels, in [0, 361]; higher is
    better, noise raises it too. A constant image has 0. Values below 1 come from images scaled to [0, 1]: they are
    lower by the factor 255.

    Args:
        fused: (N, 1, H, W) gray levels in [0, 255], uint8 or floating, at least 2x2 pixels.
        divisor: ``'differences'``: each mean over the differences that exist, H(W-1) and (H-1)W; ``'pixels'``: both
            sums divided by HW, which is 0.1 to 0.2 % lower.
        white: The number that stands for white: 255, or 1 for images scaled to [0, 1].
        fold_colour: Take (N, C, H, W) and rate the channels side by side as one image (H, CW): the jumps at the seams
            count.

    Returns:
        (N,) float64.

    Raises:
        TypeError: The dtype is neither uint8 nor floating.
        ValueError: Wrong shape, smaller than 2x2, NaN or values outside [0, 255], or an option that does not exist.

    Examples:
        >>> import torch
        >>> spatial_frequency(torch.tensor([[[[0., 3.], [4., 7.]]]])).item()
        5.0
    """
    if divisor not in ('differences', 'pixels'):
        raise ValueError(f"divisor must be 'differences' or 'pixels', got {divisor!r}")
    if fold_colour and isinstance(fused, Tensor) and fused.dim() == 4:
        fused = fused.movedim(1, 2).flatten(2).unsqueeze(1)
    (fused,) = check_images(min_size=2, keep_dtype=True, fused=fused)

    def frequency(image: Tensor) -> Tensor:
        squares = 0.0
        for after, before in ((image[..., 1:], image[..., :-1]), (image[..., 1:, :], image[..., :-1, :])):
            count = after[0].numel() if divisor == 'differences' else image[0].numel()
            for differences in (x.double() - y.double() for x, y in row_chunks(after, before)):
                squares = squares + inner_product(differences, differences) / count
        return squares.sqrt()

    return map_images(frequency, fused) * (white / 255)
