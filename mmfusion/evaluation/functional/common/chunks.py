"""Pieces of a batch that fit the memory at hand: on the CPU a metric works on one image and a few rows at a time, on a
GPU on everything at once.
"""

from typing import Callable, Iterator, Tuple

import torch
from torch import Tensor

# measured at 640 columns: a term of float64 arithmetic takes 0.06 ms in strips that stay in the cache, 0.25 ms on whole
# planes
ROWS = 32


def image_chunks(*images: Tensor) -> Iterator[Tuple[Tensor, ...]]:
    """Walk through batches in step: image by image on the CPU, as temporaries of a whole batch cost more time than they
    save.

    Args:
        images: Batches (N, C, H, W) of equal N on one device.

    Yields:
        One (1, C, H, W) per batch on the CPU; the batches themselves on a GPU.
    """
    return iter([images]) if images[0].is_cuda else zip(*(image.split(1) for image in images))


def row_chunks(*maps: Tensor, rows: int = ROWS) -> Iterator[Tuple[Tensor, ...]]:
    """Walk through maps of equal height in step: a few rows at a time on the CPU.

    Args:
        maps: (N, C, H, W), all of equal H on one device.
        rows: How many at a time on the CPU.

    Yields:
        Views (N, C, <= rows, W) on the CPU; the maps themselves on a GPU.
    """
    return iter([maps]) if maps[0].is_cuda else zip(*(values.split(rows, dim=-2) for values in maps))


def map_images(function: Callable, *images: Tensor):
    """Call a function with the :func:`image_chunks` of batches and put its results together.

    Args:
        function: Takes batches (N, C, H, W), returns (N,) tensors or (nested) named tuples of them.
        images: Batches of equal N on one device.

    Returns:
        What the function returns for the whole batches.
    """
    return _join([function(*chunk) for chunk in image_chunks(*images)])


def _join(results: list):
    if len(results) == 1:
        return results[0]
    if isinstance(results[0], Tensor):
        return torch.cat(results)
    return type(results[0])(*map(_join, map(list, zip(*results))))
