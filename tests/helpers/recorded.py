"""Recorded vectors of the original networks: random inputs and weights, and what the networks made of them.

Every file ``tests/data/NAME.pt`` was recorded once with the programs of the authors (float32, CPU). Weights and inputs
were drawn from seeded generators, so a file names the draw instead of holding the numbers; outputs are held as they
came out, large ones in part (:class:`Sample`). Names of weights are those of the official checkpoints.
"""

import functools
import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import torch
from torch import Tensor

DATA = Path(__file__).resolve().parents[1] / 'data'


class Sample(NamedTuple):
    """Every so many elements of a recorded tensor, in the order of its memory.

    Attributes:
        values: (K,), elements 0, ``every``, 2 ``every``, ...
        every: Distance between them.
        shape: Of the whole tensor.
    """

    values: Tensor
    every: int
    shape: Tuple[int, ...]

    def of(self, tensor: Tensor) -> Tensor:
        """The same elements of another tensor.

        Raises:
            ValueError: The tensor has another shape than the recorded one.
        """
        if tuple(tensor.shape) != tuple(self.shape):
            raise ValueError(f'the recorded tensor has shape {tuple(self.shape)}, this one {tuple(tensor.shape)}')
        return tensor.reshape(-1)[:: self.every]


@functools.cache
def load(name: str) -> Dict[str, Any]:
    """Recorded vectors with all their numbers. Shared by the tests of a process: copy before changing.

    Args:
        name: ``'moe_fusion'``, ``'tdfusion'``, ``'tim'`` or ``'tc_moa'``.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: torch draws other numbers from a seed than the torch that the vectors were recorded with.
    """
    stored = torch.load(DATA / f'{name}.pt', weights_only=True)
    draws: List[dict] = []
    _collect(stored['content'], draws)
    _fill(draws)
    content = _resolve(stored['content'])
    total = sum(draw['tensor'].double().abs().sum().item() for draw in draws)
    if not math.isclose(total, stored['sum_of_draws'], rel_tol=1e-6):
        raise RuntimeError(
            f'{name}.pt: torch {torch.__version__} draws other random numbers than torch 2.13 on a CPU, '
            'with which these vectors were recorded; they cannot be used with it'
        )
    return content


def _is_leaf(node: Any) -> bool:
    return isinstance(node, dict) and 'kind' in node


def _collect(node: Any, draws: List[dict]) -> None:
    if _is_leaf(node):
        if node['kind'] in ('normal', 'uniform') and not any(node is draw for draw in draws):
            draws.append(node)
    elif isinstance(node, (dict, list)):
        for part in node.values() if isinstance(node, dict) else node:
            _collect(part, draws)


def _fill(draws: List[dict]) -> None:
    """Draw what the leaves ask for, each seed's stream in one pass."""
    generator, seed, position = torch.Generator(), None, 0
    for draw in sorted(draws, key=lambda draw: (draw['seed'], draw['skip'])):
        if draw['seed'] != seed or draw['skip'] < position:
            generator.manual_seed(draw['seed'])
            seed, position = draw['seed'], 0
        torch.rand(draw['skip'] - position, generator=generator)
        draw['tensor'], position = _draw(draw, generator), draw['skip'] + math.prod(draw['shape'])
        if draw['kind'] == 'normal' and math.prod(draw['shape']) % 16:
            position += 16  # torch draws the last sixteen again


def _draw(draw: dict, generator: torch.Generator) -> Tensor:
    """One tensor, by the function of torch that drew it first."""
    tensor = torch.empty(draw['shape'])
    if draw['kind'] == 'normal':
        tensor.normal_(draw['mean'], draw['std'], generator=generator)
    else:
        tensor.uniform_(draw['low'], draw['high'], generator=generator)
    for step, *values in draw['then']:
        tensor = getattr(tensor, step)(
            *(torch.tensor(value).view(1, -1, 1, 1) if isinstance(value, list) else value for value in values)
        )
    return tensor


def _resolve(node: Any) -> Any:
    if _is_leaf(node):
        kind = node['kind']
        if kind == 'full':
            return torch.full(node['shape'], node['value'])
        if kind == 'sincos':
            return _sincos(*node['shape'][1:])
        if kind == 'narrow':
            return node['values'].to(getattr(torch, node['dtype']))
        if kind == 'sample':
            return Sample(node['values'], node['every'], tuple(node['shape']))
        return node['tensor']
    if isinstance(node, dict):
        return {key: _resolve(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolve(value) for value in node]
    return node


def _sincos(length: int, dim: int) -> Tensor:
    """Position embedding of a masked autoencoder: (1, length, dim), a row of zeros for the class token first."""
    grid = torch.arange(math.isqrt(length - 1), dtype=torch.float64)
    rates = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    parts = []
    for positions in torch.meshgrid(grid, grid, indexing='xy'):
        angles = positions.reshape(-1, 1) * rates
        parts += [angles.sin(), angles.cos()]
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), torch.cat(parts, 1)]).float()[None]
