"""State of the global random generators of ``random``, numpy and torch's CPU, taken and put back."""

import random

import numpy as np
import torch


def random_state() -> tuple:
    """State of the three generators, for :func:`set_random_state`.

    Examples:
        >>> state = random_state()
        >>> first = random.random(), np.random.rand(), float(torch.rand(()))
        >>> set_random_state(state)
        >>> first == (random.random(), np.random.rand(), float(torch.rand(())))
        True
    """
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def set_random_state(state: tuple) -> None:
    """Put the generators into a state of :func:`random_state`."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
