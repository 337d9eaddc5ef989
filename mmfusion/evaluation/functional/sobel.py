"""Sobel derivatives of several images in step, the common ground of the edge metrics."""
from typing import Iterator, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 32  # as in chunks.py: strips that stay in the cache


def sobel_strips(*images: Tensor, border: str = 'constant', columns: bool = False) -> Iterator[List[Tuple[Tensor, Tensor]]]:
    """Derivatives of batches, a few rows at a time on the CPU and all rows at once on a GPU.

    Whole grey levels come out exact. For fractional images, the order of the additions decides whether a derivative is zero or rounding noise, and
    with it the angle of the edge; each metric asks for the order of its published program.

    Args:
        images: Batches (N, 1, H, W) of equal shape, float64, H and W at least 2.
        border: ``'constant'`` (zeros) or ``'reflect'`` (mirrored without the last pixel).
        columns: Whether the columns of the window are summed first, top down, and then added from left to right. Else all terms are added one after
            the other, column by column and bottom up, as a convolution in column-major order does.

    Yields:
        For each image ``(across, down)``, two fresh (N, 1, rows, W) tensors: brightness growing to the right and downwards counts positive.
    """
    height, width = images[0].shape[-2:]
    padded = [F.pad(image, (1, 1, 1, 1), mode=border) for image in images]
    rows = height if images[0].is_cuda else ROWS
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield [_sobel(image[..., start:stop + 2, :], stop - start, width, columns) for image in padded]


def _sobel(strip: Tensor, height: int, width: int, columns: bool) -> Tuple[Tensor, Tensor]:

    def shifted(row: int, column: int) -> Tensor:
        return strip[..., row:row + height, column:column + width]

    if columns:
        left, right = (shifted(0, column).add(shifted(1, column), alpha=2).add_(shifted(2, column)) for column in (0, 2))
        middle = shifted(2, 1).sub(shifted(0, 1)).mul_(2)
        down = shifted(2, 0).sub(shifted(0, 0)).add_(middle).add_(torch.sub(shifted(2, 2), shifted(0, 2), out=middle))
        return right.sub_(left), down
    across = shifted(2, 0).add(shifted(1, 0), alpha=2).add_(shifted(0, 0))
    across.sub_(shifted(2, 2)).sub_(shifted(1, 2), alpha=2).sub_(shifted(0, 2)).neg_()
    down = shifted(2, 0).sub(shifted(0, 0))
    down.add_(shifted(2, 1), alpha=2).sub_(shifted(0, 1), alpha=2).add_(shifted(2, 2)).sub_(shifted(0, 2))
    return across, down


def magnitude(across: Tensor, down: Tensor) -> Tensor:
    """Length of the gradient; two roundings, as a fused multiplication would break ties between equal gradients of fractional images."""
    return (across * across).add_(down * down).sqrt_()


def logistic(value: Tensor, slope: float, centre: float) -> Tensor:
    r"""In place: :math:`1 + e^{-slope\,(value - centre)}`, the inverse of the perceptual sigmoid of the edge metrics."""
    return value.sub_(centre).mul_(-slope).exp_().add_(1)


def weighted_means(weighted: Tensor, weights: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """From sums over pixels to the value per source and the common one; NaN where there is no weight.

    Args:
        weighted: (2, N) sums of value times weight for either source.
        weights: (2, N) sums of the weights.
    """
    return (*(weighted / weights), weighted.sum(0) / weights.sum(0))


def accumulator(rows: int, image: Tensor) -> Tensor:
    """(rows, N) zeros for sums over the pixels of each image."""
    return torch.zeros(rows, len(image), dtype=torch.float64, device=image.device)


def pixel_sums(*maps: Tensor) -> Tensor:
    """(number of maps, N) sums over the pixels."""
    return torch.stack([values.flatten(1).sum(1) for values in maps])
