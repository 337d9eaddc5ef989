"""A slow, readable twin of MoEFusion: the formulas as printed, every expert on every image, exp and log as they stand.

It reads the weights of a :class:`MoEFusion` and shares no code with it.
"""

import torch
import torch.nn.functional as F

from mmfusion.models.fusers import MoEFusion
from mmfusion.models.fusers.base import FuserOutput
from mmfusion.registry import MODELS

EPS = 2.220446049250313e-16  # what the formula puts for a zero before its log


def _conv(layer, x):
    return F.conv2d(x, layer.weight, layer.bias, padding=1)


def _encode(encoder, x):
    x0 = F.relu(_conv(encoder.stem, x))
    x1 = torch.cat([x0, _conv(encoder.dense1, x0)], 1)
    x2 = torch.cat([x1, _conv(encoder.dense2, x1)], 1)
    return x2, _conv(encoder.dense3, x2)


def _expert(layers, x):
    convs = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    for conv in convs[:-1]:
        x = F.relu(_conv(conv, x))
    return _conv(convs[-1], x)


def _gates(gate, x, training):
    """Image by image, expert by expert; returns gates (N, E) and load (E,)."""
    clean = x @ gate.weight
    deviation = F.softplus(x @ gate.noise_weight) + gate.noise_epsilon
    logits = clean + torch.randn_like(clean) * deviation if training else clean
    rows, load = [], torch.zeros(gate.num_experts, dtype=clean.dtype)
    normal = torch.distributions.Normal(clean.new_tensor(0.0), clean.new_tensor(1.0))
    for n, row in enumerate(logits):
        order = row.argsort(descending=True)
        kept, first_out = order[: gate.top_k], order[gate.top_k]
        weights = row[kept].exp() / row[kept].exp().sum()
        rows.append(torch.zeros_like(row).index_put((kept,), weights))
        for e in range(gate.num_experts):
            if training:
                rival = row[first_out] if e in kept else row[kept[-1]]
                load = load.index_add(0, torch.tensor([e]), normal.cdf((clean[n, e] - rival) / deviation[n, e]).view(1))
            elif e in kept:
                load[e] += 1
    return torch.stack(rows), load


def _mixture(gates, experts, inputs, skip_idle):
    """log sum_e g_e exp(E_e(x_e)) over all experts; gates (N, E), inputs E x (N, C, H, W)."""
    total = sum(
        g.view(-1, 1, 1, 1) * _expert(expert, x).exp()
        for g, expert, x in zip(gates.unbind(1), experts, inputs)
        if g.any() or not skip_idle
    )
    return torch.where(total == 0, torch.full_like(total, EPS), total).log()


def _cv2(v):
    return v.var(unbiased=True) / (v.mean() ** 2 + 1e-10)


def twin(fuser, first, second, attention, skip_idle=False):
    """Fused image (N, 1, H, W), load-balance loss, and the gates of the three mixtures.

    ``skip_idle`` leaves out experts that no image chose, as the original's dispatcher does; for timing.
    """
    training = fuser.training
    a = attention.max(dim=1, keepdim=True).values
    a = F.interpolate(a, size=first.shape[-2:], mode='bilinear', align_corners=True)
    dense_r, e_r = _encode(fuser.encoder_first, first)
    dense_i, e_i = _encode(fuser.encoder_second, second)
    parts, aux, all_gates = [dense_r, e_r, dense_i, e_i], 0.0, []
    for name, share, weight in (('foreground', a, 0.01), ('background', 1 - a, 0.01)):
        r, i = e_r * share, e_i * share
        x = F.interpolate(torch.cat([r, i], 1), size=fuser.local_grid, mode='bilinear', align_corners=True).flatten(1)
        gates, load = _gates(getattr(fuser, f'{name}_gate'), x, training)
        experts = getattr(fuser, f'{name}_experts')
        parts.append(_mixture(gates, experts, [r, r, i, i], skip_idle))
        aux = aux + weight * (_cv2(gates.sum(0)) + _cv2(load))
        all_gates.append(gates)
    features = torch.cat(parts, 1)
    x = F.interpolate(features, size=fuser.global_grid, mode='bilinear', align_corners=True).flatten(1)
    gates, load = _gates(fuser.global_gate, x, training)
    fused = _mixture(gates, fuser.global_experts, [features] * 4, skip_idle)
    return fused, aux + 0.02 * (_cv2(gates.sum(0)) + _cv2(load)), [*all_gates, gates]


@MODELS.register_module()
class MoEFusionTwin(MoEFusion):
    """The twin as a fuser, so that tools/analysis_tools/benchmark.py can time it; idle experts are left out, as in the
    original.
    """

    def fuse(self, first, second, attention=None):
        """Fuse as :func:`twin` does; without attention 0.5 everywhere."""
        if attention is None:
            attention = first.new_full((first.shape[0], 1, 4, 4), 0.5)
        fused, aux, _ = twin(self, first, second, attention, skip_idle=True)
        return FuserOutput(fused, dict(loss_balance=aux) if self.training else {})
