"""Clipping of gradients by part of a coupling, so that no part learns less where the gradient of another is large."""

from typing import Dict, Iterable, List, Optional

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from .fused import clip_grad_norm

#: What wrappers put before the names of parameters (DDP, FSDP, torch.compile).
WRAPPER_NAMES = ('module', '_fsdp_wrapped_module', '_orig_mod')


def part_of(name: str) -> str:
    """Part of a coupling to which a parameter belongs; every task network is one of its own.

    Examples:
        >>> part_of('fuser.encoder.weight'), part_of('tasks.det.network.neck.bias')
        ('fuser', 'det')
    """
    names = [item for item in name.split('.') if item not in WRAPPER_NAMES]
    return names[1] if names[0] == 'tasks' else names[0]


class ClipByPart:
    """``torch.nn.utils.clip_grad_norm_`` for every part of a coupling by itself: fuser, each task network, guide.

    One norm over all would let the gradient of a task scale down that of the fuser, even where ``detach=True`` cuts
    the way between them. It takes the place of an optimizer wrapper's ``clip_func``, so it sees gradients without a
    loss scale and after accumulation, and it writes the norm of each part to the log as ``grad_norm.<part>``, as it
    was before clipping.

    Args:
        model: The coupling, perhaps wrapped.
        total: Return the norm over all parts, which the optimizer wrapper logs as ``grad_norm``. False where several
            wrappers would overwrite each other's.
    """

    def __init__(self, model: nn.Module, total: bool = True) -> None:
        self.parts = {id(parameter): part_of(name) for name, parameter in model.named_parameters()}
        self.total = total

    def __call__(
        self, parameters: Iterable[Tensor], max_norm: float, norm_type: float = 2.0, **options
    ) -> Optional[Tensor]:
        """Clip in place; arguments as ``torch.nn.utils.clip_grad_norm_``."""
        groups: Dict[str, List[Tensor]] = {}
        for parameter in parameters:
            groups.setdefault(self.parts.get(id(parameter), 'other'), []).append(parameter)
        norms = [clip_grad_norm(group, max_norm, norm_type, **options) for group in groups.values()]
        device = norms[0].device
        stacked = torch.stack([norm.to(device) for norm in norms])
        hub = MessageHub.get_current_instance()
        for part, norm in zip(groups, stacked.tolist()):
            hub.update_scalar(f'train/grad_norm.{part}', norm)
        return torch.linalg.vector_norm(stacked, norm_type) if self.total else None


def clip_by_part(model: nn.Module, optim_wrapper: OptimWrapper) -> None:
    """Let every optimizer wrapper that clips norms clip them by part of ``model``.

    Args:
        model: The coupling, perhaps wrapped.
        optim_wrapper: One wrapper or an ``OptimWrapperDict``.
    """
    several = isinstance(optim_wrapper, OptimWrapperDict)
    for wrapper in optim_wrapper.values() if several else [optim_wrapper]:
        if wrapper.clip_grad_kwargs and wrapper.clip_func in (torch.nn.utils.clip_grad_norm_, clip_grad_norm):
            wrapper.clip_func = ClipByPart(model, total=not several)
