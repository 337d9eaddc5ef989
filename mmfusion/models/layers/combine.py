"""Combine expert outputs under their gates."""

from functools import reduce
from typing import Sequence

import torch
from torch import Tensor
from torch.autograd import Function

from mmfusion.utils.compat import traced


def log_combine(outputs: Sequence[Tensor], gates: Sequence[Tensor], mode: str = 'logsumexp') -> Tensor:
    r"""Weighted combination of the chosen experts.

    .. math:: y = \log \sum_e g_e \exp(E_e) \quad\text{or, linear,}\quad y = \sum_e g_e E_e

    The log form is folded with ``logaddexp`` over :math:`E_e + \log g_e`: equal to the formula, and it cannot overflow
    where ``exp`` of a float16 does at about 11. Computed in float32 or wider.

    Args:
        outputs: One tensor per chosen expert, all of one shape (N, C, H, W).
        gates: One positive weight per expert, broadcastable, e.g. (N, 1, 1, 1).
        mode: ``'logsumexp'`` or ``'linear'``.

    Raises:
        ValueError: ``mode`` is unknown or the lists are empty or differ in length.

    Examples:
        >>> same = torch.full((1, 1, 1, 1), 3.)
        >>> log_combine([same, same], [torch.tensor(.25), torch.tensor(.75)]).item()
        3.0
    """
    if not outputs or len(outputs) != len(gates):
        raise ValueError(f'need one gate for each expert output, got {len(outputs)} outputs and {len(gates)} gates')
    dtype = torch.promote_types(outputs[0].dtype, torch.float32)
    if mode == 'logsumexp':
        # The smallest normal number keeps log finite where a float32 softmax rounded a gate to zero.
        tiny = torch.finfo(dtype).tiny
        return reduce(
            _log_add_exp, (out.to(dtype) + gate.to(dtype).clamp_min(tiny).log() for out, gate in zip(outputs, gates))
        )
    if mode == 'linear':
        return sum(out.to(dtype) * gate.to(dtype) for out, gate in zip(outputs, gates))
    raise ValueError(f"combination must be 'logsumexp' or 'linear', got {mode!r}")


def _log_add_exp(first: Tensor, second: Tensor) -> Tensor:
    plain = not torch.is_grad_enabled() or first.shape != second.shape or traced()
    return torch.logaddexp(first, second) if plain else _LogAddExp.apply(first, second)


class _LogAddExp(Function):
    """``torch.logaddexp``, whose gradients are a sigmoid's share and the rest; PyTorch computes either by itself, with
    a division.
    """

    @staticmethod
    def forward(first: Tensor, second: Tensor) -> Tensor:
        return torch.logaddexp(first, second)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        first, second = ctx.saved_tensors
        share = grad * torch.sigmoid(first - second)
        return share, grad - share
