"""Slow, readable twin of TIM: every layer as it is described, NCHW, one call per layer.

It reads the weights of our networks and shares no code with them.
"""

import torch
import torch.nn.functional as F

from mmfusion.models.fusers import TIM, TwoStageTIM
from mmfusion.models.fusers.base import FuserOutput
from mmfusion.registry import MODELS


def _reflected(layer, x):
    pad = layer.weight.shape[-1] // 2
    return F.conv2d(F.pad(x, (pad, pad, pad, pad), mode='reflect'), layer.weight, layer.bias)


def _depthwise(layer, x, dilation=1):
    return F.conv2d(
        x,
        layer.weight,
        padding=dilation * (layer.weight.shape[-1] // 2),
        dilation=dilation,
        groups=layer.weight.shape[0],
    )


def _full(layer, x):
    return F.conv2d(x, layer.weight, padding=layer.weight.shape[-1] // 2)


def _norm(layer, x):
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0, layer.eps)


def _prelu(layer, x):
    return F.prelu(x, layer.weight)


def residual(m, x, kernel, dilation):
    y = _depthwise(m.context, _depthwise(m.depthwise, x, dilation), 2)
    return x + _prelu(m.activation, _norm(m.norm, _full(m.pointwise, y)))


def dense(m, x, kernel, dilation):
    x1 = _prelu(m.activation, _depthwise(m.conv1, x, dilation))
    x2 = _prelu(m.activation, _depthwise(m.conv2, torch.cat([x, x1], dim=1), dilation))
    x3 = _prelu(m.activation, _depthwise(m.conv3, torch.cat([x, x1, x2], dim=1), dilation))
    return x3 * 0.333 + x


def dil_conv(m, x, kernel, dilation):
    return x + _norm(m.norm, _full(m.pointwise, _depthwise(m.depthwise, F.relu(x), dilation)))


def sep_conv(m, x, kernel, dilation):
    x = _norm(m.norm1, _full(m.pointwise1, _depthwise(m.depthwise1, F.relu(x), dilation)))
    return _norm(m.norm2, _full(m.pointwise2, _depthwise(m.depthwise2, F.relu(x), dilation)))


def eca(m, x, kernel, dilation):
    mean = F.adaptive_avg_pool2d(x, 1)  # (N, C, 1, 1)
    weights = F.conv1d(mean.squeeze(-1).transpose(1, 2), m.score.weight, padding=kernel // 2)
    return _prelu(m.activation, _full(m.conv, x * torch.sigmoid(weights.transpose(1, 2).unsqueeze(-1))))


def spatial(m, x, kernel, dilation):
    pooled = torch.cat([x.max(1, keepdim=True)[0], x.mean(1, keepdim=True)], dim=1)
    return x * torch.sigmoid(_full(m.score, pooled))


def non_local(m, x, kernel, dilation):
    x = _prelu(m.activation1, _full(m.conv1, x))
    q, k, v = (_full(layer, x).flatten(2) for layer in (m.query, m.key, m.value))
    attended = v @ torch.softmax(q.transpose(1, 2) @ k, dim=-1).transpose(1, 2)
    x = x + _full(m.project, attended.view(len(x), -1, *x.shape[2:]))
    return _prelu(m.activation2, _full(m.conv2, x))


OPERATIONS = dict(
    residual=residual, dense=dense, dil_conv=dil_conv, sep_conv=sep_conv, eca=eca, spatial=spatial, non_local=non_local
)


def operation_twin(module, name, x):
    """An operation by its name."""
    head, *numbers = name.rsplit('_', 2) if name.rsplit('_', 2)[-2].isdigit() else name.rsplit('_', 1)
    kernel, dilation = [*map(int, numbers), 1][:2]
    return OPERATIONS[head](module, x, kernel, dilation)


def _chain(modules, names, x):
    for module, name in zip(modules, names):
        x = operation_twin(module, name, x)
    return x


def _blur(x):
    row = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype)
    kernel = (row[:, None] * row / 16).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), kernel, stride=2, groups=x.shape[1])


def _down(m, x):
    top = _prelu(m.activation2, _full(m.conv, _prelu(m.activation1, _full(m.pointwise, x))))
    return _full(m.project, _blur(top)) + _full(m.shortcut, _blur(x))


def _up(m, x):
    top = F.conv_transpose2d(
        _prelu(m.activation1, _full(m.pointwise, x)), m.transposed.weight, stride=2, padding=1, output_padding=1
    )
    bottom = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)
    return _full(m.project, _prelu(m.activation2, top)) + _full(m.shortcut, bottom)


def _merge(m, features):
    mean = F.adaptive_avg_pool2d(features[0] + features[1] + features[2], 1)
    squeezed = _prelu(m.activation, _full(m.squeeze, mean))
    weights = torch.softmax(torch.stack([_full(score, squeezed) for score in m.scores]), dim=0)
    return (torch.stack(features) * weights).sum(0)


def cell_twin(module, cell, x):
    """A cell of a genotype."""
    x = _norm(module.preprocess.norm, _full(module.preprocess.pointwise, F.relu(x)))
    if cell.kind == 'chain':
        return _chain(module.operations, cell.operations, x)
    half = _chain(module.chain_half, cell.operations, _down(module.down_half, x))
    quarter = _chain(
        module.chain_quarter, cell.operations, _down(module.down_quarter[1], _down(module.down_quarter[0], x))
    )
    features = [
        _chain(module.chain_full, cell.operations, x),
        _up(module.up_half, half),
        _up(module.up_quarter[1], _up(module.up_quarter[0], quarter)),
    ]
    return x + _merge(module.merge, features)


def _cells(network, x):
    for module, cell in zip(network.cells, network.genotype.cells):
        x = cell_twin(module, cell, x)
    return x


def _head(m, x):
    x = _prelu(m[1], _reflected(m[0], x))
    return _reflected(m[3], _reflected(m[2], x))


def stage1_twin(fuser, first, second):
    """Image (N, 1, H, W) of a TIM in eval mode; H and W suit the network."""
    x = _prelu(fuser.stem[1], _reflected(fuser.stem[0], torch.cat([first, second], dim=1)))
    return _head(fuser.head, _cells(fuser, _prelu(fuser.stem[3], _reflected(fuser.stem[2], x))))


def _branch(m, source, initial):
    x = _prelu(m.stem[1], _reflected(m.stem[0], torch.cat([source, initial], dim=1)))
    return _cells(m, _prelu(m.stem[4], _norm(m.stem[3], _reflected(m.stem[2], x))))


def two_stage_twin(fuser, first, second):
    """Both auxiliary images and the image of a TwoStageTIM in eval mode."""
    initial = stage1_twin(fuser.stage1, first, second)
    one, other = fuser.branches.values()
    a, b = _branch(one, first, initial), _branch(other, second, initial)
    auxiliary = [torch.tanh(_head(branch.auxiliary, x)) for branch, x in ((one, a), (other, b))]
    if hasattr(fuser.merge, 'score'):
        pooled = torch.cat([a.max(1, keepdim=True)[0], a.max(1, keepdim=True)[0], a.mean(1, keepdim=True)], dim=1)
        mask = torch.sigmoid(_full(fuser.merge.score, pooled))
        mixed = mask * a + (1 - mask) * b
    else:
        mixed = torch.cat([a, b], dim=1)
    for layer in fuser.merge.head:
        mixed = _reflected(layer, mixed)
    return (*auxiliary, mixed if hasattr(fuser.merge, 'score') else torch.tanh(mixed))


@MODELS.register_module()
class TIMTwin(TIM):
    """The twin as a fuser, so that tools/analysis_tools/benchmark.py can time it."""

    def fuse(self, first, second):
        """Fuse as :func:`stage1_twin` does."""
        return FuserOutput(stage1_twin(self, first, second), {})


@MODELS.register_module()
class TwoStageTIMTwin(TwoStageTIM):
    """The same with both stages; as in the published network, the auxiliary images are computed too."""

    def fuse(self, first, second):
        """Fuse as :func:`two_stage_twin` does."""
        return FuserOutput(two_stage_twin(self, first, second)[2], {})
