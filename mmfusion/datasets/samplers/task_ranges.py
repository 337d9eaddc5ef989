"""Ranges of samples by fusion task, for the batch samplers."""

from typing import Dict, Iterator

import numpy as np
from torch.utils.data import Sampler

from mmfusion.utils.errors import InputError, InputTypeError


def task_ranges(owner: str, sampler: Sampler, **numbers: int) -> Dict[str, range]:
    """Indices of each task's samples by name, after a check of the sampler's data set and of numbers that must be at
    least 1.

    Args:
        owner: Name of the batch sampler, for messages.
        sampler: A ``DefaultSampler`` over a ``FusionTasksDataset``.
        numbers: Numbers by name.

    Raises:
        TypeError: The data set has no tasks, or the sampler no epochs.
        ValueError: A number is below 1.
    """
    dataset = getattr(sampler, 'dataset', None)
    if not hasattr(dataset, 'ranges'):
        raise InputTypeError(f'{owner} draws from a FusionTasksDataset, got {type(dataset).__name__}')
    if not all(hasattr(sampler, name) for name in ('seed', 'epoch', 'rank', 'world_size')):
        raise InputTypeError(
            f"{owner} needs sampler = dict(type='DefaultSampler'), which knows epochs; got {type(sampler).__name__}"
        )
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f'{owner}: {name} must be at least 1, got {value}')
    return dataset.ranges()


def endless(rng: np.random.Generator, indices: range, rank: int = 0, world_size: int = 1) -> Iterator[int]:
    """All indices in an order drawn anew for every pass, without end; of several processes each gets its share of every
    pass.

    Shares are disjoint and equally long: where the number of processes does not divide that of the indices, the pass
    begins again to fill them up.

    Args:
        rng: Source of the orders, in the same state in all processes.
        indices: Consecutive indices.
        rank: Number of the process.
        world_size: Number of processes.

    Examples:
        >>> from itertools import islice
        >>> shares = [list(islice(endless(np.random.default_rng(0), range(10, 16), rank, 2), 3)) for rank in (0, 1)]
        >>> sorted(shares[0] + shares[1])
        [10, 11, 12, 13, 14, 15]
    """
    share = -(-len(indices) // world_size)
    while True:
        order = indices.start + rng.permutation(len(indices))
        yield from np.resize(order, share * world_size)[rank::world_size].tolist()
