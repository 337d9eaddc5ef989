"""Slow, readable twins of ReFusion and LossGenerationModule: every formula as it stands, NCHW, one convolution call per
convolution.

They read the weights of our networks and share no code with them.
"""

import torch
import torch.nn.functional as F

from mmfusion.models.fusers import ReFusion
from mmfusion.models.fusers.base import FuserOutput
from mmfusion.models.losses import LossGenerationModule
from mmfusion.registry import MODELS


def _conv(layer, x):
    return F.conv2d(x, layer.weight, padding=layer.weight.shape[-1] // 2)


def _depthwise(layer, x):
    return F.conv2d(x, layer.weight, padding=1, groups=x.shape[1])


def _norm(layer, x):
    n, c, h, w = x.shape
    tokens = x.reshape(n, c, h * w).transpose(1, 2)  # (N, HW, C)
    mean = tokens.mean(-1, keepdim=True)
    variance = tokens.var(-1, keepdim=True, unbiased=False)
    tokens = (tokens - mean) / torch.sqrt(variance + 1e-5) * layer.weight + layer.bias
    return tokens.transpose(1, 2).reshape(n, c, h, w)


def _attend(q, k, v, temperature):
    n, c, h, w = q.shape
    heads = temperature.shape[0]
    q, k, v = (x.reshape(n, heads, c // heads, h * w) for x in (q, k, v))
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    attention = (q @ k.transpose(-2, -1) * temperature).softmax(dim=-1)
    return (attention @ v).reshape(n, c, h, w)


def _block(block, x):
    attention, feed_forward = block.attention, block.feed_forward
    q, k, v = _depthwise(attention.qkv_depthwise, _conv(attention.qkv, _norm(block.norm1, x))).chunk(3, dim=1)
    x = x + _conv(attention.project, _attend(q, k, v, attention.temperature))
    gate, content = _depthwise(feed_forward.depthwise, _conv(feed_forward.expand, _norm(block.norm2, x))).chunk(
        2, dim=1
    )
    return x + _conv(feed_forward.project, F.gelu(gate) * content)


def _chain(blocks, x):
    for block in blocks:
        x = _block(block, x)
    return x


def _meet(m, a, b):
    q_a, k_a, v_a = _depthwise(m.qkv_first_depthwise, _conv(m.qkv_first, a)).chunk(3, dim=1)
    q_b, k_b, v_b = _depthwise(m.qkv_second_depthwise, _conv(m.qkv_second, b)).chunk(3, dim=1)
    a = a + _conv(m.project_first, _attend(q_b, k_a, v_a, m.temperature_first))
    b = b + _conv(m.project_second, _attend(q_a, k_b, v_b, m.temperature_second))
    both = torch.cat([a, b], dim=1)
    gate_a, gate_b = _depthwise(m.gate_depthwise, _conv(m.gate, both)).chunk(2, dim=1)
    hidden_a = F.gelu(gate_a) * _depthwise(m.expand_first_depthwise, _conv(m.expand_first, a))
    hidden_b = F.gelu(gate_b) * _depthwise(m.expand_second_depthwise, _conv(m.expand_second, b))
    return both + _conv(m.output_first, hidden_a) + _conv(m.output_second, hidden_b)


def fuser_twin(fuser, first, second):
    """Fused image (N, 1, H, W) of a ReFusion."""
    a, b = (
        _chain(fuser.encoder_first, _conv(fuser.stem_first, first)),
        _chain(fuser.encoder_second, _conv(fuser.stem_second, second)),
    )
    x = _chain(fuser.decoder, _meet(fuser.fusion, a, b))
    return torch.sigmoid(_conv(fuser.output, F.leaky_relu(_conv(fuser.reduce, x), 0.01)))


def loss_module_twin(module, first, second):
    """Weights (N, 2, H, W) of a LossGenerationModule."""
    a, b = (
        _chain(module.encoder_first, _conv(module.stem_first, first)),
        _chain(module.encoder_second, _conv(module.stem_second, second)),
    )
    x = _conv(module.reduce, _chain(module.encoder_both, torch.cat([a, b], dim=1)))
    x = torch.where(x > 0, x, module.activation.weight * x)
    return torch.softmax(_conv(module.output, x), dim=1)


@MODELS.register_module()
class ReFusionTwin(ReFusion):
    """The twin as a fuser, so that tools/analysis_tools/benchmark.py can time it."""

    def fuse(self, first, second):
        """Fuse as :func:`fuser_twin` does."""
        return FuserOutput(fuser_twin(self, first, second), {})


@MODELS.register_module()
class LossGenerationModuleTwin(LossGenerationModule):
    """The twin as a module."""

    def forward(self, first, second):
        """Weights as :func:`loss_module_twin` makes them."""
        return loss_module_twin(self, first, second)
