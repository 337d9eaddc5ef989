"""Sobel derivatives of several images in step, the common ground of the edge metrics."""

import math
from typing import Iterator, List, Tuple

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 32  # as in chunks.py: strips that stay in the cache
CV_BORDERS = {'constant': cv2.BORDER_CONSTANT, 'reflect': cv2.BORDER_REFLECT_101}


def sobel_strips(
    *images: Tensor, border: str = 'constant', columns: bool = False
) -> Iterator[List[Tuple[Tensor, Tensor]]]:
    """Derivatives of batches, a few rows at a time on the CPU and all rows at once on a GPU.

    Whole gray levels come out exact. For fractional images, the order of the additions decides whether a derivative is
    zero or rounding noise, and with it the angle of the edge; each metric asks for the order of its published program.

    Args:
        images: Batches (N, 1, H, W) of equal shape, uint8 or floating, H and W at least 2; N = 1 on the CPU (see
            :func:`chunks.map_images`).
        border: ``'constant'`` (zeros) or ``'reflect'`` (mirrored without the last pixel).
        columns: Whether the columns of the window are summed first, top down, and then added from left to right. Else
            all terms are added one after the other, column by column and bottom up, as a convolution in column-major
            order does.

    Yields:
        For each image ``(across, down)``, two fresh (N, 1, rows, W) tensors: brightness growing to the right and
        downwards counts positive.
    """
    height, width = images[0].shape[-2:]
    counted = [image.dtype == torch.uint8 and not image.is_cuda for image in images]
    whole = [
        _sobel_of_bytes(image, border) if fast else F.pad(image.double(), (1, 1, 1, 1), mode=border)
        for image, fast in zip(images, counted)
    ]
    rows = height if images[0].is_cuda else ROWS
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield [
            tuple(values[..., start:stop, :].double() for values in image)
            if fast
            else _sobel(image[..., start : stop + 2, :], stop - start, width, columns)
            for image, fast in zip(whole, counted)
        ]


def _sobel_of_bytes(image: Tensor, border: str) -> Tuple[Tensor, Tensor]:
    """Both derivatives in int16, in which they are exact."""
    plane = image[0, 0].numpy()
    return tuple(
        torch.from_numpy(cv2.Sobel(plane, cv2.CV_16S, *order, borderType=CV_BORDERS[border]))[None, None]
        for order in ((1, 0), (0, 1))
    )


def _sobel(strip: Tensor, height: int, width: int, columns: bool) -> Tuple[Tensor, Tensor]:

    def shifted(row: int, column: int) -> Tensor:
        return strip[..., row : row + height, column : column + width]

    if columns:
        left, right = (
            shifted(0, column).add(shifted(1, column), alpha=2).add_(shifted(2, column)) for column in (0, 2)
        )
        middle = shifted(2, 1).sub(shifted(0, 1)).mul_(2)
        down = shifted(2, 0).sub(shifted(0, 0)).add_(middle).add_(torch.sub(shifted(2, 2), shifted(0, 2), out=middle))
        return right.sub_(left), down
    across = shifted(2, 0).add(shifted(1, 0), alpha=2).add_(shifted(0, 0))
    across.sub_(shifted(2, 2)).sub_(shifted(1, 2), alpha=2).sub_(shifted(0, 2)).neg_()
    down = shifted(2, 0).sub(shifted(0, 0))
    down.add_(shifted(2, 1), alpha=2).sub_(shifted(0, 1), alpha=2).add_(shifted(2, 2)).sub_(shifted(0, 2))
    return across, down


def magnitude(across: Tensor, down: Tensor) -> Tensor:
    """Length of the gradient; two roundings, as a fused multiplication would break ties between equal gradients of
    fractional images.
    """
    return (across * across).add_(down * down).sqrt_()


def sigmoids(
    strength: Tensor, direction: Tensor, slopes: Tuple[float, float], centres: Tuple[float, float]
) -> Tuple[Tensor, float]:
    r"""Product of the perceptual sigmoids :math:`1 / (1 + e^{-slope\,(value - centre)})` of two maps, as quotient of a
    number and a map.

    Args:
        strength: Overwritten.
        direction: Overwritten.
        slopes: Of both sigmoids.
        centres: Of both sigmoids.

    Returns:
        Map :math:`\prod (e^{-slope \cdot centre} + e^{-slope \cdot value})` and number
        :math:`\prod e^{-slope \cdot centre}`: the second over the first is the product of the sigmoids.
    """
    shares = [math.exp(-slope * centre) for slope, centre in zip(slopes, centres)]
    terms = [
        value.mul_(-slope).exp_().add_(share) for value, slope, share in zip((strength, direction), slopes, shares)
    ]
    return terms[0].mul_(terms[1]), shares[0] * shares[1]


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
