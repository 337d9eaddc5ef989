"""Optimizers of many small weights: few groups, one call for all weights of a group on a CPU, and little Python around
gradients.
"""

from typing import Any, Dict, Iterable, List, Sequence, Union

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mmfusion.utils import UserError

#: Options of an optimizer that rule out a fused step, or say that the user has decided.
DECIDED = ('fused', 'foreach', 'capturable', 'differentiable')


def merged_groups(groups: Sequence[dict]) -> List[dict]:
    """Groups of equal options made one, in the order in which their options first appear.

    mmengine's ``paramwise_cfg`` makes a group of each parameter, and an optimizer goes through its groups in Python.

    Examples:
        >>> merged_groups([dict(params=[1], lr=.1), dict(params=[2], lr=.2), dict(params=[3], lr=.1)])
        [{'params': [1, 3], 'lr': 0.1}, {'params': [2], 'lr': 0.2}]
    """
    merged: List[dict] = []
    for group in groups:
        options = {key: value for key, value in group.items() if key != 'params'}
        for other in merged:
            if {key: value for key, value in other.items() if key != 'params'} == options:
                other['params'] = [*other['params'], *group['params']]
                break
        else:
            merged.append(dict(group))
    return merged


def can_fuse(optimizer: Dict[str, Any], model: nn.Module) -> bool:
    """Whether torch has a fused step for an optimizer's config and the weights that learn, on a CPU.

    On other devices torch takes its multi-tensor kernels by itself. An optimizer whose config names ``fused`` or
    ``foreach`` is left alone.
    """
    kind = optimizer.get('type')
    with OPTIMIZERS.switch_scope_and_registry(None) as registry:
        kind = registry.get(kind) if isinstance(kind, str) else kind
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return (
        kind in (Adam, AdamW, SGD)
        and not any(optimizer.get(name) for name in DECIDED)
        and optimizer.get('fused') is None
        and all(weight.device.type == 'cpu' and weight.is_floating_point() for weight in weights)
    )


def guard(optimizer: Optimizer) -> Optimizer:
    """Make a fused step safe, and refuse the state of other groups with a message that says what to do.

    The fused kernels for a CPU walk through memory: a gradient in another layout than its weight, which
    ``torch.autograd.grad`` returns behind features in ``channels_last``, would silently update the wrong entries. Such
    gradients are copied first.
    """
    optimizer.register_step_pre_hook(_same_layout)
    optimizer.register_load_state_dict_pre_hook(_check_groups)
    optimizer.register_load_state_dict_post_hook(_states_in_layout)
    return optimizer


@torch.no_grad()
def clip_grad_norm(
    parameters: Union[Tensor, Iterable[Tensor]], max_norm: float, norm_type: float = 2.0, **options: Any
) -> Tensor:
    """``torch.nn.utils.clip_grad_norm_`` for many small gradients on a CPU; those below ``max_norm`` are not multiplied
    by one.

    Bit for bit the same norm and gradients. Other devices, dtypes and options go to PyTorch's.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    kinds = {(grad.device.type, grad.dtype, grad.layout) for grad in grads}
    if kinds != {('cpu', torch.float32, torch.strided)} or norm_type != 2 or any(options.values()):
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type, **options)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # also where it is NaN
        torch._foreach_mul_(grads, factor)
    return norm


def _same_layout(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    for group in optimizer.param_groups:
        if group.get('fused'):
            for weight in group['params']:
                if weight.dim() > 1 and weight.grad is not None and weight.grad.stride() != weight.stride():
                    weight.grad = _like(weight.grad, weight)


def _states_in_layout(optimizer: Optimizer) -> None:
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = _like(value, weight)


def _like(value: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _check_groups(optimizer: Optimizer, state_dict: dict) -> None:
    found, wanted = (
        [len(group['params']) for group in groups] for groups in (state_dict['param_groups'], optimizer.param_groups)
    )
    if found != wanted:
        raise UserError(
            f'the checkpoint holds the state of an optimizer with {sum(found)} weights in {len(found)} groups, '
            f'this config makes {sum(wanted)} weights in {len(wanted)}: resume with the config and the version of '
            f'mmfusion that wrote it, or begin '
            'from its weights alone (load_from instead of resume)'
        )
