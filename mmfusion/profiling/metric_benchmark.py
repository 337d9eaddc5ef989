"""Timing of metrics: each by itself, and a protocol as a whole."""

import itertools
from typing import Dict, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmfusion.evaluation.folders.memory import keep_freed_memory
from mmfusion.evaluation.folders.scoring import single_thread
from mmfusion.evaluation.protocols import evaluate_metrics, expand_names, get_metric, prepare_images
from mmfusion.profiling.timing import measure
from mmfusion.utils import UserError

TOTAL = 'together'


class Cost(NamedTuple):
    """Time for one image, in ms.

    Attributes:
        best: Fastest of all repeats.
        median: Their median.
    """

    best: float
    median: float


def synthetic_triple(shape: Tuple[int, int] = (480, 640), seed: int = 0) -> List[Tensor]:
    """A fused image and two sources with the spectrum of natural scenes: noise of all scales, the coarser the stronger,
    and a plateau of black.

    Args:
        shape: (H, W).
        seed: Seed of the noise.

    Returns:
        fused, first, second: each (1, 1, H, W) uint8; fused is the average of the sources.
    """
    generator = np.random.default_rng(seed)

    def scene() -> np.ndarray:
        total, size = np.zeros(shape), max(shape)
        while size >= 1:
            coarse = generator.normal(size=(max(2, -(-shape[0] // size)), max(2, -(-shape[1] // size))))
            total += cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) * size**0.7
            size //= 2
        low, high = np.percentile(total, (10, 99.5))
        return np.clip((total - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)

    first, second = scene(), scene()
    fused = ((first.astype(int) + second + 1) // 2).astype(np.uint8)
    return [torch.from_numpy(image)[None, None] for image in (fused, first, second)]


def time_metrics(
    images: Sequence[Tensor],
    metrics: Sequence[str] = ('all',),
    protocol: str = 'default',
    device: str = 'cpu',
    batch_size: int = 1,
    repeats: int = 10,
) -> Dict[str, Cost]:
    """Time metrics on one image, or on a batch of copies on a GPU; reading and conversion are not included.

    Args:
        images: fused, first, second: (1, C, H, W).
        metrics: Names, ``'all'`` stands for all that are not slow.
        protocol: Name of the protocol.
        device: CPU time of one thread is taken on ``'cpu'``, wall time on a GPU.
        batch_size: Copies in a batch; times are per image.
        repeats: Repeats.

    Returns:
        Cost by metric, and ``'together'``: all in one call, where metrics share work.

    Raises:
        UserError: Unknown protocol or metric.
    """
    try:
        names = expand_names(metrics, protocol)
    except (KeyError, ValueError) as error:
        raise UserError(error.args[0]) from error
    images = [image.repeat(batch_size, 1, 1, 1).to(device) for image in prepare_images(images, protocol)]

    levels = itertools.count()

    def rating(chosen: Sequence[str]):
        def rate():
            images[1][..., 0, 0] = (
                next(levels) % 256
            )  # another source every time: some metrics keep what they know of the last pair
            evaluate_metrics(chosen, *images, protocol=protocol)

        return rate

    keep_freed_memory()
    with single_thread():
        timings = measure({**{name: rating([name]) for name in names}, TOTAL: rating(names)}, repeats, 1, device)
    costs = {}
    for name, timing in timings.items():
        seconds = timing.cpu if torch.device(device).type == 'cpu' else timing.wall
        costs[name] = Cost(1e3 * min(seconds) / batch_size, 1e3 * float(np.median(seconds)) / batch_size)
    return costs


def format_costs(costs: Dict[str, Cost], protocol: str) -> str:
    """Table for the terminal."""
    lines = [f'{"":14}{"best ms":>9}{"median ms":>11}']
    for name, cost in costs.items():
        title = 'all of them in one call' if name == TOTAL else get_metric(name, protocol).title
        lines.append(f'{name:14}{cost.best:9.2f}{cost.median:11.2f}  {title}')
    return '\n'.join(lines)
