"""Results kept from one call to the next, for work on sources that several fused images share."""

from functools import wraps
from typing import Callable

import torch
from torch import Tensor

LARGEST = 2**20  # values of all arguments, so that large images do not hold memory


def keep_last_result(function: Callable) -> Callable:
    """Return the last result again where the arguments are equal in every value.

    The arguments of that call are copied, so that a later change of theirs in place does no harm; the result must not
    be changed. Arguments on a GPU and large ones are not kept.

    Args:
        function: A pure function of tensors.
    """
    last = (None, None)

    @wraps(function)
    def wrapper(*tensors: Tensor):
        nonlocal last
        arguments, result = last  # one name: a thread never sees the arguments of one call with the result of another
        if arguments is not None and len(arguments) == len(tensors) and all(map(_same, arguments, tensors)):
            return result
        result = function(*tensors)
        small = sum(tensor.numel() for tensor in tensors) <= LARGEST and not any(tensor.is_cuda for tensor in tensors)
        last = ([tensor.clone() for tensor in tensors], result) if small else (None, None)
        return result

    return wrapper


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)
