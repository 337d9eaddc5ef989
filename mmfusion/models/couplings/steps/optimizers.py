"""Optimizers of couplings that compute their gradients themselves: which parts they serve, and what such couplings
cannot take.
"""

from typing import Collection, Dict, List, Union

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmfusion.utils import UserError
from mmfusion.utils.compat import accumulative_counts

from .state import trainable

Wrappers = Union[OptimWrapper, OptimWrapperDict]


def check_part_optimizers(
    coupling: nn.Module,
    optim_wrapper: Wrappers,
    parts: Dict[str, nn.Module],
    separate: Collection[str] = (),
    optional: Collection[str] = (),
) -> None:
    """Check the optimizers of a coupling that sets gradients itself.

    Args:
        coupling: The coupling, for messages and its submodules.
        optim_wrapper: One wrapper for all, or an ``OptimWrapperDict`` with one for each part.
        parts: Modules that learn, by the key of their optimizer.
        separate: Parts that need an optimizer of their own.
        optional: Parts that may have one and do without.

    Raises:
        UserError: An optimizer is missing, unknown or leaves weights out, gradients are to be accumulated or are of a
            lower precision than that of the coupling, or parts of the model are wrapped one by one.
    """
    name = type(coupling).__name__
    example = ', '.join(f'{part}=dict(optimizer=...)' for part in parts)
    if isinstance(optim_wrapper, OptimWrapperDict):
        found = set(optim_wrapper.keys())
        if set(parts) - found:
            raise UserError(
                f'optim_wrapper has no {sorted(set(parts) - found)}; {name} needs an optimizer for each of '
                f'{sorted(parts)}: {example}'
            )
        if found - set(parts) - set(optional):
            raise UserError(
                f'optim_wrapper has {sorted(found - set(parts))}, but {name} knows {sorted({*parts, *optional})}'
            )
        wrappers = dict(optim_wrapper.items())
    elif separate:
        raise UserError(
            f'{name} needs one optimizer for each part: optim_wrapper = '
            f"dict(constructor='PartOptimWrapperConstructor', {example})"
        )
    else:
        wrappers = dict(optim_wrapper=optim_wrapper)
        covered = {id(parameter) for group in optim_wrapper.param_groups for parameter in group['params']}
        if any(id(parameter) not in covered for module in parts.values() for parameter in trainable(module)):
            raise UserError(f'optim_wrapper leaves weights of {name} out; build it for the whole model')
    for key, wrapper in wrappers.items():
        place = key if wrapper is optim_wrapper else f'optim_wrapper.{key}'
        refuse_precision(wrapper, place, coupling)
        refuse_accumulation(wrapper, place, name)
    refuse_wrapped_parts(coupling)


def refuse_precision(wrapper: OptimWrapper, place: str, coupling: nn.Module) -> None:
    """Raise a UserError where an optimizer trains in a lower precision than a coupling states (``precision``).

    Args:
        wrapper: The optimizer wrapper.
        place: Its place in the config, for the message.
        coupling: The coupling.
    """
    name, kind = type(coupling).__name__, type(wrapper).__name__
    scaled = isinstance(wrapper, AmpOptimWrapper)
    if coupling.precision == 'float32' and (
        scaled or getattr(wrapper, 'autocast_dtype', torch.float32) != torch.float32
    ):
        raise UserError(
            f'{place} is a {kind}, but {name} trains in float32: its gradients are small and vanish in '
            f'half precision. Use '
            "type='OptimWrapper', without --amp"
        )
    if coupling.precision == 'bfloat16' and scaled:
        raise UserError(
            f'{place}: {name} compares gradients, which a loss scale would distort; for mixed precision use '
            "type='BFloat16OptimWrapper', otherwise type='OptimWrapper'"
        )


def refuse_accumulation(wrapper: OptimWrapper, place: str, coupling: str, instead: str = 'batch_size') -> None:
    """Raise a UserError where an optimizer gathers gradients over iterations, of a coupling that sets gradients itself.

    Args:
        wrapper: The optimizer wrapper.
        place: Its place in the config, for the message.
        coupling: Name of the coupling.
        instead: What to raise for the same effect.
    """
    if accumulative_counts(wrapper) != 1:
        raise UserError(
            f'{place}: {coupling} does not accumulate gradients; remove accumulative_counts and raise {instead}'
        )


def refuse_wrapped_parts(coupling: nn.Module) -> None:
    """Raise a UserError where parts of a coupling that averages gradients itself are wrapped one by one."""
    wrapped = [child for child, module in coupling.named_children() if isinstance(module, DistributedDataParallel)]
    if wrapped:
        raise UserError(
            f'the parts {wrapped} are wrapped one by one (MMSeparateDistributedDataParallel); '
            f'{type(coupling).__name__} averages '
            'gradients itself: leave model_wrapper_cfg out of the config'
        )


def distinct_wrappers(optim_wrapper: Wrappers) -> List[OptimWrapper]:
    """The wrappers, one or several."""
    return list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]


def precision_context(optim_wrapper: Wrappers, model: nn.Module):
    """Context for a forward pass in the precision that the wrapper of the fuser asks for, or the only wrapper."""
    return (optim_wrapper['fuser'] if isinstance(optim_wrapper, OptimWrapperDict) else optim_wrapper).optim_context(
        model
    )


def step_all(optim_wrapper: Wrappers) -> None:
    """One step of every optimizer on the gradients that hang on its weights, which are dropped afterwards."""
    for wrapper in distinct_wrappers(optim_wrapper):
        wrapper.step()
        wrapper.zero_grad()
