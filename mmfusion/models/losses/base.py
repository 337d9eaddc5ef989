"""Contract of a fusion loss, and the targets that most of them compare with."""

from abc import abstractmethod
from typing import Dict, Optional

import torch
from torch import Tensor, nn

from .focus import focus_mask

TARGETS = ('max', 'mean', 'first', 'second', 'focus')


def make_target(first: Tensor, second: Tensor, target: str, targets: Optional[Dict[str, Tensor]] = None) -> Tensor:
    """Image that the fused one should come close to.

    Args:
        first: (N, C, H, W).
        second: Same shape.
        target: ``'max'`` (brighter pixel), ``'mean'``, ``'first'``, ``'second'`` or ``'focus'`` (the source with the
            stronger edges in patches of 16 pixels, see :func:`~mmfusion.models.losses.focus.focus_mask`).
        targets: Targets of the same two sources by name: one that is there is taken, one that is missing is added.

    Examples:
        >>> make_target(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), 'mean').item()
        0.5
    """
    if targets is None:
        return _make_target(first, second, target)
    if target not in targets:
        targets[target] = _make_target(first, second, target)
    return targets[target]


def _make_target(first: Tensor, second: Tensor, target: str) -> Tensor:
    if target == 'max':
        return torch.maximum(first, second)
    if target == 'mean':
        return (first + second) / 2
    if target == 'focus':
        return torch.where(focus_mask(first, second), first, second)
    return {'first': first, 'second': second}[target]


def check_target(name: str, target: str, allowed: tuple = TARGETS) -> str:
    """Return ``target``, or raise a ValueError that names the loss and the choices."""
    if target not in allowed:
        raise ValueError(f'{name}: target must be one of {allowed}, got {target!r}')
    return target


class BaseFusionLoss(nn.Module):
    """Criterion on a fused image and its sources.

    Computed in float32 (float64 stays), also inside autocast: means over 10^5 pixels and squares of small numbers do
    not suit half precision. Subclasses implement :meth:`criterion`.

    Args:
        loss_weight: Factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @abstractmethod
    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Unweighted scalar loss; arguments as in :meth:`forward`."""

    def forward(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Weighted scalar loss.

        Args:
            fused: (N, C, H, W) in the fuser's color space, nominal [0, 1].
            first: First source in the same space, same shape.
            second: Second source, same shape.
            context: What some losses use: ``boxes``, list of N tensors (n, 4), xyxy in pixels; ``seg``, (N, H, W) class
                indices; ``fusion_task``, its name, or a tuple of names where they differ; ``targets``, a dict through
                which losses on the same sources share their targets (see :func:`make_target`).

        Raises:
            ValueError: Shapes differ, or a label that this loss needs is missing.
        """
        if not fused.shape == first.shape == second.shape or fused.dim() != 4:
            raise ValueError(
                f'{type(self).__name__}: fused, first and second must be equal (N, C, H, W), got {tuple(fused.shape)}, '
                f'{tuple(first.shape)}, {tuple(second.shape)}'
            )
        with torch.autocast(device_type=fused.device.type, enabled=False):
            fused, first, second = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (fused, first, second))
            return self.loss_weight * self.criterion(fused, first, second, **context)

    def extra_repr(self) -> str:
        """Show the weight."""
        return f'loss_weight={self.loss_weight}'
