"""Check that loop, optimizers and model wrapper suit a coupling, before a training that would go wrong in silence."""

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmfusion.engine.optim_wrappers import PartOptimWrapper
from mmfusion.utils import UserError
from mmfusion.utils.unwrap import unwrap

from .coupling_train_loop import CouplingTrainLoop


def check_loop(model: nn.Module, loop, optim_wrapper=None) -> None:
    """Check that several processes together take the step that one process would take, by the rule of the coupling.

    Args:
        model: Any model, as the runner has it; couplings are known by what they state (``averages_gradients``), other
            models are not looked at.
        loop: The training loop.
        optim_wrapper: Optimizer wrapper or wrappers, where they are built already.

    Raises:
        UserError: The loop passes over the step of the coupling, its parts are wrapped one by one, or the optimizers
            leave weights out; with the remedy.
    """
    coupling = unwrap(model)
    wrapped = coupling is not model
    averages = getattr(coupling, 'averages_gradients', None)
    if averages is None:
        return
    name, loop_name = type(coupling).__name__, type(loop).__name__
    if hasattr(coupling, 'meta_step') and not hasattr(loop, 'meta_steps'):
        raise UserError(
            f'{name} learns its loss in a loop of its own, which {loop_name} is not: '
            "set train_cfg = dict(type='MetaTrainLoop', max_epochs=..., meta_steps=...)"
        )
    if wrapped and averages and not isinstance(loop, CouplingTrainLoop):
        raise UserError(
            f'{name} has a training step of its own, which {loop_name} skips in several processes: '
            f"set train_cfg.type='{coupling.loop or 'CouplingTrainLoop'}'"
        )
    if wrapped and averages and not isinstance(model, DistributedDataParallel):
        raise UserError(
            f'{name} computes its gradients itself, from whole weights, which {type(model).__name__} '
            'shards: leave strategy and model_wrapper_cfg out of the config'
        )
    if (
        wrapped
        and hasattr(model, 'clip_grad_norm_')
        and any(wrapper.clip_grad_kwargs for wrapper in _wrappers(optim_wrapper))
    ):
        raise UserError(
            f'optim_wrapper.clip_grad: {type(model).__name__} leaves every process a part of the weights, so each '
            'would clip by a norm of its own; remove clip_grad, or train with DistributedDataParallel'
        )
    if wrapped and not averages and _own_step(coupling):
        raise UserError(
            f'{name} has a train_step of its own and does not say that it averages gradients over processes, so in '
            'several of them it would be skipped: average gradients in train_step and state averages_gradients = True '
            'in the class'
        )
    children = [
        child
        for child, module in getattr(coupling, 'named_children', lambda: ())()
        if isinstance(module, DistributedDataParallel)
    ]
    if children:
        raise UserError(
            f'the parts {children} are wrapped one by one (MMSeparateDistributedDataParallel), and {name} is trained '
            'as a whole: leave model_wrapper_cfg out of the config'
        )
    if isinstance(optim_wrapper, OptimWrapperDict) and not averages and not _own_step(coupling):
        _check_parts(coupling, optim_wrapper)


def _wrappers(optim_wrapper) -> list:
    if isinstance(optim_wrapper, OptimWrapperDict):
        return list(optim_wrapper.values())
    return [] if optim_wrapper is None else [optim_wrapper]


def _own_step(coupling: nn.Module) -> bool:
    return getattr(type(coupling), 'train_step', BaseModel.train_step) is not BaseModel.train_step


def _check_parts(coupling: nn.Module, optim_wrapper: OptimWrapperDict) -> None:
    """Optimizers by part of a coupling that is trained by one sum of losses."""
    name, parts = type(coupling).__name__, coupling.learning_parts()
    if not isinstance(optim_wrapper, PartOptimWrapper):
        raise UserError(
            f'optim_wrapper holds several optimizers, and {name} takes one step on one sum of losses: build them with '
            "optim_wrapper = dict(constructor='PartOptimWrapperConstructor', ...)"
        )
    optim_wrapper.check_uniform()
    missing = sorted(set(parts) - set(optim_wrapper.keys()))
    if missing:
        raise UserError(
            f'optim_wrapper has no {", ".join(missing)}, and {name} trains {", ".join(parts)}: add '
            + ', '.join(f'{part}=dict(optimizer=...)' for part in missing)
        )
