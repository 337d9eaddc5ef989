"""Noisy top-k gating with load balance, one decision per image or per token.

N. Shazeer et al., "Outrageously large neural networks: the sparsely-gated mixture-of-experts layer", ICLR 2017,
equations 3-11.
"""

from typing import NamedTuple, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn


class GateOutput(NamedTuple):
    """What a gate decides.

    Attributes:
        gates: (..., E) weights of the experts: zero where not chosen, summing to 1 over the chosen ones. float32 or
            wider.
        chosen: (..., k) int64 indices of the chosen experts.
        importance: (E,) sum of the gates over all inputs.
        load: (E,) how many inputs each expert gets: in training a smooth estimate that carries gradient, in eval a
            count.
    """

    gates: Tensor
    chosen: Tensor
    importance: Tensor
    load: Tensor


class NoisyTopKGate(BaseModule):
    r"""Choose k of E experts for every input vector.

    .. math::
        h = x W_g + \mathcal{N}(0, 1) \cdot (\mathrm{softplus}(x W_n) + \epsilon), \qquad
        g = \mathrm{softmax}(\mathrm{top}_k(h))

    The noise is drawn in training only, with one call of ``torch.randn_like`` on the (..., E) clean logits, so it can
    be replayed from a seed. Everything is computed in float32 (float64 stays), whatever autocast or the dtype of the
    input says: a sum over 10^5 inputs and a hard choice do not suit half precision.

    Args:
        in_features: Length D of an input vector.
        num_experts: Number of experts E.
        top_k: Number of experts chosen for each input.
        noise_epsilon: Smallest standard deviation of the noise (0.01 in MoE-Fusion, 0.1 in TC-MoA).
        groups: Split the experts into this many equal runs and choose ``top_k / groups`` in each, so that no run stays
            without a say.
        init_cfg: mmengine initialization config. By default both matrices are zero: in training the noise alone decides
            at first; in eval all logits tie and the choice means nothing before the first step.

    Raises:
        ValueError: The numbers do not fit each other.

    Examples:
        >>> gate = NoisyTopKGate(in_features=6, num_experts=4, top_k=2).eval()
        >>> out = gate(torch.rand(3, 6))
        >>> out.gates.shape, out.gates.sum(-1).tolist(), out.load.sum().item()
        (torch.Size([3, 4]), [1.0, 1.0, 1.0], 6)
    """

    def __init__(
        self,
        in_features: int,
        num_experts: int = 4,
        top_k: int = 2,
        noise_epsilon: float = 1e-2,
        groups: int = 1,
        init_cfg: 'dict | list | None' = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if in_features < 1:
            raise ValueError(f'in_features must be positive, got {in_features}')
        if not 1 <= top_k <= num_experts:
            raise ValueError(f'top_k must lie in [1, num_experts={num_experts}], got {top_k}')
        if groups < 1 or num_experts % groups or top_k % groups:
            raise ValueError(f'groups={groups} must divide num_experts={num_experts} and top_k={top_k}')
        if noise_epsilon <= 0:
            raise ValueError(f'noise_epsilon must be positive, got {noise_epsilon}')
        self.in_features, self.num_experts, self.top_k = in_features, num_experts, top_k
        self.noise_epsilon, self.groups = noise_epsilon, groups
        self.weight = nn.Parameter(torch.zeros(in_features, num_experts))
        self.noise_weight = nn.Parameter(torch.zeros(in_features, num_experts))

    def extra_repr(self) -> str:
        """Show the numbers that define the gate."""
        return (
            f'in_features={self.in_features}, num_experts={self.num_experts}, top_k={self.top_k}, '
            f'noise_epsilon={self.noise_epsilon}, groups={self.groups}'
        )

    def forward(self, x: Tensor) -> GateOutput:
        """Choose experts.

        Args:
            x: (..., D) floating input vectors; all leading dimensions count as inputs.

        Raises:
            ValueError: The last dimension is not ``in_features``.
        """
        return self.decide(x, self.weight, self.noise_weight)

    def decide(self, x: Tensor, weight: Tensor, noise_weight: Tensor) -> GateOutput:
        """:meth:`forward` with given matrices (D, E), for gates that keep several of them."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f'the gate takes vectors of length {self.in_features}, got {tuple(x.shape)}')
        with torch.autocast(device_type=x.device.type, enabled=False):
            dtype = torch.promote_types(x.dtype, torch.float32)
            x = x.to(dtype)
            clean = x @ weight.to(dtype)  # (..., E)
            if not self.training:
                gates, chosen = self._select(clean)
                return GateOutput(gates, chosen, gates.flatten(0, -2).sum(0), (gates > 0).flatten(0, -2).sum(0))
            deviation = F.softplus(x @ noise_weight.to(dtype)) + self.noise_epsilon
            noisy = clean + torch.randn_like(clean) * deviation
            gates, chosen = self._select(noisy)
            load = self._chance_to_be_chosen(clean, noisy, deviation).flatten(0, -2).sum(0)
            return GateOutput(gates, chosen, gates.flatten(0, -2).sum(0), load)

    def _grouped(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.groups, -1))  # (..., G, E / G)

    def _select(self, logits: Tensor) -> Tuple[Tensor, Tensor]:
        """Top-k in each group, softmax over all that were kept."""
        kept = self._grouped(logits).topk(self.top_k // self.groups, dim=-1).indices  # (..., G, k / G)
        offset = torch.arange(self.groups, device=logits.device).unsqueeze(-1) * (self.num_experts // self.groups)
        chosen = (kept + offset).flatten(-2)  # (..., k)
        weights = logits.gather(-1, chosen).softmax(-1)
        return torch.zeros_like(logits).scatter(-1, chosen, weights), chosen

    def _chance_to_be_chosen(self, clean: Tensor, noisy: Tensor, deviation: Tensor) -> Tensor:
        """Probability of each expert to be kept if its own noise were drawn again (Shazeer et al., equation 9), (...,
        E).
        """
        k = self.top_k // self.groups
        noisy = self._grouped(noisy)
        if k == noisy.shape[-1]:  # every expert is always kept
            return torch.ones_like(clean)
        best = noisy.topk(k + 1, dim=-1).values
        last_in, first_out = best[..., k - 1 : k], best[..., k:]
        # An expert that is in competes with the best one outside, an expert that is out with the last one inside.
        rival = torch.where(noisy > first_out, first_out, last_in).flatten(-2)
        return torch.special.ndtr((clean - rival) / deviation)


def cv_squared(values: Tensor) -> Tensor:
    """Squared coefficient of variation: unbiased variance over squared mean (plus 1e-10). Zero for a single value.

    Examples:
        >>> cv_squared(torch.tensor([1., 3.])).item()
        0.5
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if values.numel() < 2:
        return values.new_zeros(())
    return values.var() / (values.mean() ** 2 + 1e-10)


def balance_loss(gate: GateOutput) -> Tensor:
    """Load-balance loss of one gate: it is zero when all experts get the same weight and the same number of inputs.

    In distributed training the balance is that of the whole batch: importance and load are summed over all processes,
    with gradient.
    """
    return cv_squared(_sum_over_processes(gate.importance)) + cv_squared(_sum_over_processes(gate.load))


def _sum_over_processes(values: Tensor) -> Tensor:
    if get_world_size() == 1:
        return values
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(values.float() if not values.is_floating_point() else values)
