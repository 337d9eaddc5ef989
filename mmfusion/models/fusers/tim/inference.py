"""The networks of TIM as steps for inference on a CPU: the same functions, computed strip by strip (:mod:`.sweep`).

Batch norm is folded into the convolution before it, activations work in place, convolutions that follow each other without an activation become
one where that is exact, and channels lie innermost in memory.
"""
from typing import Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.layers.restormer import pointwise

from . import cells, operations
from .sweep import Local, Scored, Step, Whole, run_steps, sweep

Weights = Tuple[Tensor, Optional[Tensor]]


def layout(weight: Tensor) -> Tensor:
    """A kernel in the memory layout of the features."""
    return weight.detach().contiguous(memory_format=torch.channels_last)


def folded(conv: nn.Conv2d, norm: Optional[nn.BatchNorm2d] = None) -> Weights:
    """Kernel and bias of a convolution and the batch norm behind it, in evaluation mode."""
    weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
    if norm is not None:
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = norm.bias.detach() + scale * ((0 if bias is None else bias) - norm.running_mean)
    return layout(weight), bias


def slope(activation: nn.PReLU) -> float:
    """The factor of a PReLU with one parameter."""
    return activation.weight.item()


def inner(x: Tensor, halo: int, top: bool, bottom: bool) -> Tensor:
    """The rows of ``x`` between the halos."""
    return x[:, :, 0 if top else halo:x.shape[2] if bottom else x.shape[2] - halo]


def zero_padded(x: Tensor, weight: Tensor, bias: Optional[Tensor], top: bool, bottom: bool, dilation: int = 1, groups: int = 1) -> Tensor:
    """Convolution that pads with zeros, above and below only where the image ends."""
    pad = dilation * (weight.shape[-1] // 2)
    if pad and top != bottom:
        x, rows = F.pad(x, (0, 0, pad if top else 0, pad if bottom else 0)), 0
    else:
        rows = pad if top else 0
    return F.conv2d(x, weight, bias, padding=(rows, pad), dilation=dilation, groups=groups)


def reflected(x: Tensor, weight: Tensor, bias: Optional[Tensor], top: bool, bottom: bool) -> Tensor:
    """Same with reflected borders."""
    pad = weight.shape[-1] // 2
    return F.conv2d(F.pad(x, (pad, pad, pad if top else 0, pad if bottom else 0), mode='reflect'), weight, bias)


def depthwise(conv: nn.Conv2d) -> Callable[[Tensor, bool, bool], Tensor]:
    """A zero-padded grouped convolution as a function of rows."""
    weight, dilation, groups = layout(conv.weight), conv.dilation[0], conv.groups
    return lambda x, top, bottom: zero_padded(x, weight, None, top, bottom, dilation, groups)


def reach(conv: nn.Conv2d) -> int:
    """Rows that a convolution needs on each side."""
    return conv.dilation[0] * (conv.kernel_size[0] // 2)


# ---- operations ------------------------------------------------------------------------------------------------------


def residual_steps(m: operations.Residual) -> List[Step]:
    """See :class:`~.operations.Residual`."""
    first, second, (weight, bias), a = depthwise(m.depthwise), depthwise(m.context), folded(m.pointwise, m.norm), slope(m.activation)
    halo = reach(m.depthwise) + reach(m.context)

    def run(x: Tensor, top: bool, bottom: bool) -> Tensor:
        y = pointwise(second(first(x, top, bottom), top, bottom), weight, bias)
        return F.leaky_relu_(y, a).add_(inner(x, halo, top, bottom))

    return [Local(halo, run)]


def dil_conv_steps(m: operations.DilConv) -> List[Step]:
    """See :class:`~.operations.DilConv`."""
    first, (weight, bias), halo = depthwise(m.depthwise), folded(m.pointwise, m.norm), reach(m.depthwise)
    return [Local(halo, lambda x, top, bottom: pointwise(first(F.relu(x), top, bottom), weight, bias).add_(inner(x, halo, top, bottom)))]


def sep_conv_steps(m: operations.SepConv) -> List[Step]:
    """See :class:`~.operations.SepConv`."""

    def half(conv: nn.Conv2d, mix: nn.Conv2d, norm: nn.BatchNorm2d) -> Local:
        first, (weight, bias) = depthwise(conv), folded(mix, norm)
        return Local(reach(conv), lambda x, top, bottom: pointwise(first(F.relu(x), top, bottom), weight, bias))

    return [half(m.depthwise1, m.pointwise1, m.norm1), half(m.depthwise2, m.pointwise2, m.norm2)]


def grouped(features: List[Tensor], weight: Tensor, dilation: int, top: bool, bottom: bool) -> Tensor:
    """Zero-padded convolution of k features (1, C, h, W) one after the other, in C groups of k channels; ``weight`` is (kC, 1, kernel, kernel).

    Much faster as k depthwise convolutions whose results are added up group by group.
    """
    k, channels = len(features), features[0].shape[1]
    if channels % k:  # groups that hold channels of two features
        features = [torch.cat(features, dim=1)]
    parts = [zero_padded(x, w, None, top, bottom, dilation, x.shape[1]) for x, w in zip(features, weight.split(weight.shape[0] // len(features)))]
    if k == 1:
        return parts[0]
    out = layout(parts[0].new_empty(1, channels, *parts[0].shape[2:]))
    for part, target in zip(parts, out.chunk(len(parts), dim=1)):
        torch.add(part[:, 0::k], part[:, 1::k], out=target)
        for index in range(2, k):
            target.add_(part[:, index::k])
    return out


def dense_steps(m: operations.Dense) -> List[Step]:
    """See :class:`~.operations.Dense`."""
    weights = [conv.weight.detach().flatten(0, 1)[:, None] for conv in (m.conv1, m.conv2, m.conv3)]
    dilation, halo, a = m.conv1.dilation[0], reach(m.conv1), slope(m.activation)

    def run(x: Tensor, top: bool, bottom: bool) -> Tensor:
        features = [x]
        for weight in weights:
            y = F.leaky_relu_(grouped(features, weight, dilation, top, bottom), a)
            features = [*(inner(feature, halo, top, bottom) for feature in features), y]
        return features[-1].mul_(0.333).add_(features[0])

    return [Local(3 * halo, run)]


def eca_steps(m: operations.ChannelAttention) -> List[Step]:
    """See :class:`~.operations.ChannelAttention`. The weights of the channels go into the convolution."""
    kernel, a = m.conv.weight.detach(), slope(m.activation)

    def given(mean: Tensor) -> Local:
        weight = layout(kernel * m.weights(mean)[0].view(1, -1, 1, 1))
        return Local(1, lambda x, top, bottom: F.leaky_relu_(zero_padded(x, weight, None, top, bottom), a), heavy=True)

    return [Scored(given)]


def spatial_steps(m: operations.SpatialAttention) -> List[Step]:
    """See :class:`~.operations.SpatialAttention`."""
    weight, halo = layout(m.score.weight), reach(m.score)

    def run(x: Tensor, top: bool, bottom: bool) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        return inner(x, halo, top, bottom) * zero_padded(pooled, weight, None, top, bottom).sigmoid_()

    return [Local(halo, run)]


# ---- cells -----------------------------------------------------------------------------------------------------------


def preprocess_steps(m: cells.Preprocess) -> List[Step]:
    """See :class:`~.cells.Preprocess`."""
    weight, bias = folded(m.pointwise, m.norm)
    return [Local(0, lambda x, top, bottom: pointwise(F.relu(x), weight, bias))]


def stem_steps(m: cells.Stem) -> List[Step]:
    """See :class:`~.cells.Stem`; its first step takes two images."""
    (weight1, bias1), a1, a2 = folded(m[0]), slope(m[1]), slope(m[-1])
    weight2, bias2 = folded(m[2], m[3] if len(m) == 5 else None)

    def first(one: Tensor, other: Tensor, top: bool, bottom: bool) -> Tensor:
        return F.leaky_relu_(reflected(torch.cat([one, other], dim=1).contiguous(memory_format=torch.channels_last), weight1, bias1, top, bottom), a1)

    return [Local(1, first), Local(1, lambda x, top, bottom: F.leaky_relu_(reflected(x, weight2, bias2, top, bottom), a2), heavy=True)]


def head_steps(m: cells.Head) -> List[Local]:
    """See :class:`~.cells.Head`. The pointwise convolution goes into the one before it, which is exact: a bias does not meet a border."""
    (weight1, bias1), a = folded(m[0]), slope(m[1]) if isinstance(m[1], nn.PReLU) else 1.0
    last = m[-1].weight.detach().flatten(1)  # (1, C)
    weight2 = layout((last @ m[-2].weight.detach().flatten(1)).view(1, *m[-2].weight.shape[1:]))
    bias2 = last @ m[-2].bias.detach() + m[-1].bias.detach()

    def first(x: Tensor, top: bool, bottom: bool) -> Tensor:
        x = reflected(x, weight1, bias1, top, bottom)
        return x if a == 1 else F.leaky_relu_(x, a)

    return [Local(1, first, heavy=True), Local(1, lambda x, top, bottom: reflected(x, weight2, bias2, top, bottom))]


def down_step(m: cells.Down) -> Local:
    """See :class:`~.cells.Down`; halos are rows of the input."""
    (weight1, _), (weight2, _), a1, a2 = folded(m.pointwise), folded(m.conv), slope(m.activation1), slope(m.activation2)
    project, shortcut, kernel = layout(m.project.weight), layout(m.shortcut.weight), m.blur.kernel.expand(len(weight1), 1, 3, 3).contiguous()

    def blur(x: Tensor, top: bool) -> Tensor:
        # the size is even, so only the first row and column have a neighbor outside the image
        return F.conv2d(F.pad(x, (1, 0, 1 if top else 0, 0), mode='reflect'), kernel, stride=2, groups=len(kernel))

    def run(x: Tensor, top: bool, bottom: bool) -> Tensor:
        y = F.leaky_relu_(zero_padded(F.leaky_relu_(pointwise(x, weight1), a1), weight2, None, top, bottom), a2)
        return pointwise(blur(y, top), project).add_(pointwise(blur(inner(x, 1, top, bottom), top), shortcut))

    return Local(2, run)


def up_step(m: cells.Up) -> Local:
    """See :class:`~.cells.Up`; halos are rows of the input."""
    (weight1, _), a1, a2 = folded(m.pointwise), slope(m.activation1), slope(m.activation2)
    transposed, project, shortcut = layout(m.transposed.weight), layout(m.project.weight), layout(m.shortcut.weight)

    def run(x: Tensor, top: bool, bottom: bool) -> Tensor:
        y = F.conv_transpose2d(F.leaky_relu_(pointwise(x, weight1), a1), transposed, stride=2, padding=1, output_padding=1)
        y = pointwise(F.leaky_relu_(inner(y, 2, top, bottom), a2), project)
        return y.add_(inner(F.interpolate(pointwise(x, shortcut), scale_factor=2, mode='bilinear', align_corners=False), 2, top, bottom))

    return Local(1, run)


def multiscale_step(m: cells.MultiscaleCell) -> Whole:
    """What follows the preprocessing of :class:`~.cells.MultiscaleCell`; adds to its input in place."""
    full, half, quarter = (steps_of(chain) for chain in (m.chain_full, m.chain_half, m.chain_quarter))
    down, downs, up, ups = down_step(m.down_half), [down_step(x) for x in m.down_quarter], up_step(m.up_half), [up_step(x) for x in m.up_quarter]

    def run(x: Tensor) -> Tensor:
        c = x.shape[1]
        small, _ = sweep([down], (x, ), 2 * c, scale=0.5)
        small, mean_half = sweep([up], (run_steps(half, small, width=4 * c), ), 4 * c, with_mean=True, scale=2)
        tiny, _ = sweep([downs[0]], (x, ), 2 * c, scale=0.5)
        tiny, _ = sweep([downs[1]], (tiny, ), 4 * c, scale=0.5)
        tiny, _ = sweep([ups[0]], (run_steps(quarter, tiny, width=8 * c), ), 8 * c, scale=2)
        tiny, mean_quarter = sweep([ups[1]], (tiny, ), 4 * c, with_mean=True, scale=2)
        large = run_steps(full, x, width=2 * c)
        weights = m.merge.weights((large.mean((2, 3)) + mean_half + mean_quarter)[:, :, None, None])[0].unbind(0)
        for rows in zip(*(value.split(16, dim=2) for value in (x, large, small, tiny))):
            for value, weight in zip(rows[1:], weights):
                rows[0].addcmul_(value, weight)
        return x

    return Whole(run)


# ---- networks --------------------------------------------------------------------------------------------------------


def merge_steps(merge: nn.Module) -> List[Step]:
    """Steps of the merging of two branches, (first, second) features to an image; see :mod:`.two_stage`."""
    mask, (first, last) = hasattr(merge, 'score'), head_steps(merge.head)
    if mask:
        return [Local(0, lambda one, other, top, bottom: merge.mix(one, other)), first, last]
    weight, bias = folded(merge.head[0])
    weights = [layout(part) for part in weight.chunk(2, dim=1)]

    def run(one: Tensor, other: Tensor, top: bool, bottom: bool) -> Tensor:
        return reflected(one, weights[0], bias, top, bottom).add_(reflected(other, weights[1], None, top, bottom))

    return [first._replace(run=run), last, Local(0, lambda x, top, bottom: x.tanh())]


def steps_of(module: nn.Module) -> List[Step]:
    """Steps of a cell, an operation, or a sequence of them; what is not known here runs as it is, on whole images."""
    if type(module) in STEPS:
        return STEPS[type(module)](module)
    if isinstance(module, nn.Sequential):
        return [step for part in module for step in steps_of(part)]
    return [Whole(module)]


STEPS: Dict[type, Callable[[nn.Module], List[Step]]] = {
    operations.Residual: residual_steps,
    operations.Dense: dense_steps,
    operations.DilConv: dil_conv_steps,
    operations.SepConv: sep_conv_steps,
    operations.ChannelAttention: eca_steps,
    operations.SpatialAttention: spatial_steps,
    cells.Preprocess: preprocess_steps,
    cells.Stem: stem_steps,
    cells.Head: head_steps,
    cells.ChainCell: lambda m: [*preprocess_steps(m.preprocess), *steps_of(m.operations)],
    cells.MultiscaleCell: lambda m: [*preprocess_steps(m.preprocess), multiscale_step(m)],
}
