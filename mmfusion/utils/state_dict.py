"""Weights by name: taken out of what a file holds, and compared with those that a network has."""

from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import torch
from torch import Tensor, nn

from .errors import UserError

State = Dict[str, Tensor]

MAX_LISTED = 8
#: Where published programs put their weights; a file of OpenMMLab has them under the first.
STATE_KEYS = ('state_dict', 'model', 'model_state_dict', 'params_ema', 'params', 'net', 'network', 'weights')
#: What (Distributed)DataParallel and ``torch.compile`` put before every name.
WRAPPERS = ('module.', '_orig_mod.')
MAX_DEPTH = 4


class Misfit(NamedTuple):
    """Names that differ between some weights and those of a network; false when all fit.

    Attributes:
        missing: Names of the network that the weights have not.
        unexpected: Names of the weights that the network has not.
        mismatched: Names of both, of different shapes.
    """

    missing: List[str]
    unexpected: List[str]
    mismatched: List[str]

    def __bool__(self) -> bool:
        return any(self)


def state_dict_of(
    content: object, path: object, keys: Sequence[str] = ('state_dict',), what: Optional[str] = None
) -> State:
    """The weights in what a file holds: by themselves, or under one of ``keys``, without the prefixes of wrappers.

    Args:
        content: What was loaded.
        path: Its name, for the error.
        keys: Where a state dict may stand, in order of preference; also one in the other.
        what: What the file should be, for the error; by default any weights.

    Returns:
        dict: Tensors by name. A ``_metadata`` of the file stays where no prefix is taken off.

    Raises:
        UserError: It holds no weights.
    """
    state, depth = content, 0
    while isinstance(state, dict) and depth < MAX_DEPTH and (key := _holder(state, keys)) is not None:
        state, depth = state[key], depth + 1
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(key, str) and is_plain(value) for key, value in state.items())
    ):
        raise UserError(_no_weights(content, path, keys, what))
    while prefix := next((prefix for prefix in WRAPPERS if all(key.startswith(prefix) for key in state)), ''):
        state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _holder(content: dict, keys: Sequence[str]) -> Optional[str]:
    return next((key for key in keys if key in content and not isinstance(content[key], Tensor)), None)


def _no_weights(content: object, path: object, keys: Sequence[str], what: Optional[str]) -> str:
    found = (
        f'a dict with {sorted(map(str, content))[:MAX_LISTED]}' if isinstance(content, dict) else type(content).__name__
    )
    if what is None:
        return f"{path} holds no model weights: expected a state dict, or one under the key 'state_dict', found {found}"
    others = f' ({", ".join(keys[1:])})' if len(keys) > 1 else ''
    return (
        f'{path} is not {what}: expected tensors by name, by themselves or under the key '
        f'"{keys[0]}"{others}, found {found}'
    )


def is_plain(value: object) -> bool:
    """Whether an entry of a checkpoint is a tensor that holds its numbers: not sparse, quantized or without data."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta and not value.is_quantized


def compare(state: Mapping[str, Tensor], network: Union[nn.Module, Mapping[str, Tensor]]) -> Misfit:
    """Compare names and shapes of weights with those of a network.

    Examples:
        >>> compare({'weight': torch.zeros(2, 2), 'scale': torch.zeros(1)}, nn.Linear(3, 2))
        Misfit(missing=['bias'], unexpected=['scale'], mismatched=['weight'])
    """
    own = network.state_dict() if isinstance(network, nn.Module) else network
    return Misfit(
        [key for key in own if key not in state],
        [key for key in state if key not in own],
        [key for key in own if key in state and own[key].shape != state[key].shape],
    )


def first_of(names: Sequence[str], most: int = MAX_LISTED) -> str:
    """The first names in one line, and how many more there are.

    Examples:
        >>> first_of(['a', 'b', 'c'], 2)
        'a, b and 1 more'
    """
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def listing(title: str, keys: Sequence[str]) -> str:
    """Lines that name the first of ``keys`` and count the rest; empty without any."""
    if not keys:
        return ''
    more = f'\n    ... and {len(keys) - MAX_LISTED} more' if len(keys) > MAX_LISTED else ''
    return f'\n  {len(keys)} {title}:' + ''.join(f'\n    {key}' for key in keys[:MAX_LISTED]) + more
