"""Adapters of TC-MoA: a mixture weighs two token streams against each other, a fusion layer mixes them."""

import math
from numbers import Real
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from mmfusion.models.layers import NoisyTopKGate, balance_loss
from mmfusion.models.layers.gating import GateOutput
from mmfusion.utils.errors import InputError

from .windows import WindowLayout

COMBINE = ('logsumexp', 'linear')
NEGLIGIBLE_GATE = 1e-4


class Control(NamedTuple):
    """How far the prompts are moved at inference; the defaults leave them alone."""

    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, scale: float, shift: float) -> 'Control':
        """The control by these numbers.

        Raises:
            ValueError: One is not a finite number.
        """
        for name, value in (('scale', scale), ('shift', shift)):
            if not isinstance(value, Real) or not math.isfinite(value):
                raise InputError(f'TCMoA: {name} must be a finite number, got {value!r}')
        return cls(float(scale), float(shift))

    def apply(self, prompts: Tensor) -> Tensor:
        """Prompts (2, N, T, 1) of both sources in [0, 1], moved."""
        if self == Control():
            return prompts
        mean = prompts.mean(2, keepdim=True)
        shift = prompts.new_tensor([self.shift, -self.shift]).view(2, 1, 1, 1)
        return (mean + self.scale * (prompts - mean) + shift).clamp(0, 1)


class AdapterOutput(NamedTuple):
    """What an adapter returns.

    Attributes:
        streams: (S, N, T, C) both token streams, or the first alone.
        prompts: (2, N, T, 1) weight of each source in every place, in [0, 1].
        balance: Load balance of the gate, not weighted; None in eval mode.
    """

    streams: Tensor
    prompts: Tensor
    balance: Optional[Tensor]


class TaskGate(NoisyTopKGate):
    """:class:`NoisyTopKGate` with matrices of its own for every task.

    Args:
        tasks: Number of tasks T; the matrices are (T, D, E).
        in_features: As there, like all further arguments.
    """

    def __init__(self, tasks: int, in_features: int, **kwargs) -> None:
        super().__init__(in_features, **kwargs)
        self.weight = nn.Parameter(self.weight.new_zeros(tasks, *self.weight.shape))
        self.noise_weight = nn.Parameter(torch.zeros_like(self.weight))

    def forward(self, x: Tensor, task: int) -> GateOutput:
        """Choose experts for vectors (..., D) by the matrices of a task."""
        return self.decide(x, self.weight[task], self.noise_weight[task])


class Experts(nn.Module):
    """Two-layer networks side by side, all computed at once.

    Args:
        dim: Length D of input and output.
        hidden: Length in between.
        number: Number of experts E.
    """

    def __init__(self, dim: int, hidden: int, number: int) -> None:
        super().__init__()
        self.number = number
        self.reduce = nn.Linear(dim, number * hidden)
        # each expert begins like an nn.Linear(hidden, dim)
        self.weight = nn.Parameter(torch.empty(number, hidden, dim).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.bias = nn.Parameter(torch.empty(number * dim).uniform_(-(hidden**-0.5), hidden**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (M, D) to the outputs of all experts (E, M, D)."""
        hidden = self.reduce(x).relu().unflatten(-1, (self.number, -1)).transpose(0, 1)  # (E, M, hidden)
        return torch.baddbmm(self.bias.view(self.number, 1, -1), hidden, self.weight)


class Mixture(nn.Module):
    r"""Prompts of both sources: how much each should count in every place.

    .. math:: y = \log \sum_e g_e \exp E_e(\phi), \qquad p_s = \sigma(\mathrm{mean}(y_s))

    with the halves :math:`y_1, y_2` of the channels, gates g of the task and experts E shared by all tasks. Gates up to
    1e-4 count as zero, as published.

    Args:
        dim: Length C of a token.
        tasks: Number of tasks.
        num_experts: Number of experts.
        top_k: Experts chosen per token.
        combine: ``'logsumexp'`` as the published program, or ``'linear'`` as the paper: a sum under the gates, sigmoid
            before the mean.
    """

    def __init__(self, dim: int, tasks: int, num_experts: int, top_k: int, combine: str) -> None:
        super().__init__()
        code = dim // 4
        self.combine = combine
        self.norm_in = nn.LayerNorm(2 * dim)
        self.reduce = nn.Linear(2 * dim, code, bias=False)
        nn.init.xavier_uniform_(self.reduce.weight)
        self.norm_code = nn.LayerNorm(code)
        self.gate = TaskGate(tasks, code, num_experts=num_experts, top_k=top_k, noise_epsilon=0.1)
        self.experts = Experts(code, max(dim // 32, 1), num_experts)

    def forward(self, streams: Tensor, task: int) -> 'tuple[Tensor, Optional[Tensor]]':
        """Streams (2, N, T, C) to prompts (2, N, T, 1) and, in training, the load balance."""
        code = self.norm_code(self.reduce(self.norm_in(torch.cat([*streams], dim=-1)))).flatten(0, -2)  # (M, C / 4)
        decision = self.gate(code, task)
        gates = decision.gates.t().unsqueeze(-1)  # (E, M, 1)
        kept = gates > NEGLIGIBLE_GATE
        outputs = self.experts(code)  # (E, M, C / 4)
        if self.combine == 'logsumexp':
            logs = torch.where(kept, gates, 1).log().masked_fill(~kept, -torch.inf)
            mixed = (outputs + logs).logsumexp(0).unflatten(-1, (2, -1)).mean(-1).sigmoid()  # (M, 2)
        else:
            mixed = (outputs * torch.where(kept, gates, 0)).sum(0).sigmoid().unflatten(-1, (2, -1)).mean(-1)
        prompts = mixed.t().reshape(2, *streams.shape[1:-1], 1)
        return prompts, balance_loss(decision) if self.training else None


class FusionLayer(nn.Module):
    """Linear bottleneck with a 3x3 convolution, without bias.

    Args:
        dim: Length C of a token.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(dim, dim // 4, bias=False)
        self.conv = nn.Conv2d(dim // 4, dim // 4, 3, padding=1, bias=False)
        self.expand = nn.Linear(dim // 4, dim, bias=False)

    def forward(self, x: Tensor, layout: WindowLayout) -> Tensor:
        """Tokens (N, T, C) in windows to the same."""
        x = self.conv(layout.to_map(self.reduce(x)).permute(0, 3, 1, 2))
        return self.expand(layout.to_windows(x.permute(0, 2, 3, 1)))


class TCMoAdapter(nn.Module):
    r"""One place where the streams of both sources exchange what they know.

    .. math:: f = F\Big(\sum_s p_s x_s + S_{ks}\Big), \qquad x_s \leftarrow \alpha f + (1 - \alpha) x_s

    with prompts p of :class:`Mixture`, a learned vector S for every task k and source s, a learned number
    :math:`\alpha`, and F the :class:`FusionLayer`. Computed in float32 (float64 stays) under autocast too.

    Args:
        dim: Length C of a token.
        tasks: Number of tasks.
        num_experts: Number of experts.
        top_k: Experts chosen per token.
        combine: As in :class:`Mixture`.
        restore_statistics: Give each stream of an image the mean and the standard deviation back that it had before (in
            the decoder).
    """

    def __init__(
        self,
        dim: int,
        tasks: int,
        num_experts: int = 4,
        top_k: int = 2,
        combine: str = 'logsumexp',
        restore_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.restore_statistics = restore_statistics
        self.mixture = Mixture(dim, tasks, num_experts, top_k, combine)
        self.source_shift = nn.Parameter(torch.empty(tasks, 2, dim))
        nn.init.normal_(self.source_shift, std=0.02)
        self.fusion = FusionLayer(dim)
        self.mix = nn.Parameter(torch.tensor(0.5))

    def forward(
        self, streams: Tensor, layout: WindowLayout, task: int, control: Control, first_only: bool = False
    ) -> AdapterOutput:
        """Mix two token streams.

        Args:
            streams: (2, N, T, C), in windows.
            layout: How the tokens lie in windows.
            task: Index of the task.
            control: How far the prompts are moved.
            first_only: Return the first stream alone.
        """
        with torch.autocast(device_type=streams.device.type, enabled=False):
            streams = streams.to(torch.promote_types(streams.dtype, torch.float32))
            prompts, balance = self.mixture(streams, task)
            weight = control.apply(prompts)
            joined = torch.addcmul(weight[0] * streams[0], weight[1], streams[1]) + self.source_shift[task].sum(0)
            fused = self.fusion(joined, layout)  # (N, T, C)
            streams = streams[:1] if first_only else streams
            mixed = streams.lerp(fused.expand_as(streams), self.mix)
            if self.restore_statistics:
                mixed = restore_statistics(mixed, streams)
        return AdapterOutput(mixed, prompts, balance)


def restore_statistics(x: Tensor, like: Tensor) -> Tensor:
    """Give the tokens of each image in ``x`` (S, N, T, C) the mean and the unbiased standard deviation of that of
    ``like``.
    """
    variance, mean = torch.var_mean(x.flatten(2), -1, keepdim=True)
    target_variance, target_mean = torch.var_mean(like.flatten(2), -1, keepdim=True)
    factor = ((target_variance + 1e-12) / (variance + 1e-12)).sqrt()
    return torch.addcmul(target_mean - mean * factor, x.flatten(2), factor).view_as(x)
