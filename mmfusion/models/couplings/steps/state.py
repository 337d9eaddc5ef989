"""Saving and restoring of parameters, buffers and optimizer state around a step of bilevel training."""

import copy
import itertools
from contextlib import contextmanager
from typing import Iterable, List, Optional, Sequence

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn


class TrainingState:
    """A copy, in memory, of all that training steps change in a module: parameters, buffers, and the optimizer's
    moments.

    Args:
        module: Module to come back to.
        optimizer: Its optimizer, whose state comes back too; None leaves the optimizer as it will be.

    Examples:
        >>> layer = nn.Linear(2, 1)
        >>> optimizer = torch.optim.Adam(layer.parameters())
        >>> before = layer.weight.clone()
        >>> state = TrainingState(layer, optimizer)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
        >>> state.restore()
        >>> torch.equal(layer.weight, before), len(optimizer.state)
        (True, 0)
    """

    def __init__(self, module: nn.Module, optimizer: Optional[torch.optim.Optimizer] = None) -> None:
        self._tensors = [
            (tensor, tensor.detach().clone()) for tensor in itertools.chain(module.parameters(), module.buffers())
        ]
        self._optimizer = optimizer
        self._moments = (
            {}
            if optimizer is None
            else {
                parameter: {key: _copy(value) for key, value in state.items()}
                for parameter, state in optimizer.state.items()
            }
        )

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back, in place; gradients are dropped. Once only: the optimizer goes on with the saved moments
        themselves.
        """
        for tensor, saved in self._tensors:
            tensor.copy_(saved)
            tensor.grad = None
        if self._optimizer is not None:
            self._optimizer.state.clear()
            self._optimizer.state.update(self._moments)


def _copy(value):
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


@contextmanager
def at_rest(module: Optional[nn.Module]):
    """Evaluation mode for a while, each submodule back to its own mode afterwards; batch norm statistics stay. None is
    at rest anyway.

    Examples:
        >>> layer = nn.BatchNorm2d(3)
        >>> with at_rest(layer):
        ...     print(layer.training)
        False
        >>> layer.training
        True
    """
    training = [] if module is None else [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def trainable(module: nn.Module) -> List[nn.Parameter]:
    """Parameters that take gradients, in order."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def optimizer_step(loss: Tensor, parameters: Sequence[nn.Parameter], wrapper: OptimWrapper) -> None:
    """One step of ``wrapper`` on ``loss`` for ``parameters``, averaged over processes; no other gradient is touched.

    Unlike ``OptimWrapper.update_params`` it leaves the wrapper's count of iterations alone, so that it can be taken
    back.
    """
    set_gradients(parameters, torch.autograd.grad(loss, parameters, allow_unused=True))
    wrapper.step()
    wrapper.zero_grad()


def set_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Optional[Tensor]]) -> None:
    """Average ``gradients`` over processes and hang them on ``parameters``."""
    for parameter, gradient in zip(parameters, average_gradients(gradients, parameters)):
        parameter.grad = gradient


@torch.no_grad()
def average_gradients(gradients: Sequence[Optional[Tensor]], like: Iterable[Tensor]) -> List[Optional[Tensor]]:
    """Mean over all processes, in one exchange; detached.

    Args:
        gradients: One for each tensor, None where the tensor had no part in the loss.
        like: Tensors of the shapes of the gradients.

    Returns:
        The mean, None where no process had a gradient. With one process the gradients come back detached.
    """
    if get_world_size() == 1:
        return [None if gradient is None else gradient.detach() for gradient in gradients]
    like = list(like)
    used = like[0].new_tensor([gradient is not None for gradient in gradients])
    flat = [
        (torch.zeros_like(tensor) if gradient is None else gradient).detach().reshape(-1)
        for gradient, tensor in zip(gradients, like)
    ]
    joined = torch.cat([used, *flat])
    all_reduce(joined, 'sum')
    used, values = joined[: len(like)], joined[len(like) :] / get_world_size()
    parts = values.split([tensor.numel() for tensor in like])
    return [part.view_as(tensor) if flag > 0 else None for part, tensor, flag in zip(parts, like, used.tolist())]
