"""Slow, readable twins of the published fusers: every formula as it stands, in the default layout, source by source.

They read official weights under their official keys and share no code with the fusers;
``benchmarks/published_fusers.py`` times both.
"""

from typing import Callable, Dict

import torch
import torch.nn.functional as F

State = Dict[str, torch.Tensor]


def densefuse(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """DenseFuse on values of 0..255."""

    def layer(name, x):
        x = F.pad(x, (1, 1, 1, 1), mode='reflect')
        return F.relu(F.conv2d(x, state[f'{name}.conv2d.weight'], state[f'{name}.conv2d.bias']))

    def encode(x):
        x = layer('conv1', x)
        for i in range(3):
            x = torch.cat([x, layer(f'DB1.denseblock.{i}.dense_conv', x)], dim=1)
        return x

    x = (encode(infrared * 255) + encode(visible * 255)) / 2
    for number in (2, 3, 4, 5):
        x = layer(f'conv{number}', x)
    return x / 255


def seafusion(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """SeAFusion."""

    def conv(name, x):
        weight = state[f'{name}.weight']
        return F.conv2d(x, weight, state[f'{name}.bias'], padding=weight.shape[-1] // 2)

    def block(name, x):
        a = F.leaky_relu(conv(f'{name}.dense.conv1.conv', x), 0.2)
        u = torch.cat([x, a], dim=1)
        b = F.leaky_relu(conv(f'{name}.dense.conv2.conv', u), 0.2)
        p = conv(f'{name}.convdown.conv', torch.cat([x, a, b], dim=1))
        s = sum(
            F.conv2d(x, state[f'{name}.sobelconv.conv{axis}.weight'], padding=1, groups=x.shape[1]).abs()
            for axis in 'xy'
        )
        return F.leaky_relu(p + conv(f'{name}.convup.conv', s), 0.1)

    def branch(name, x):
        x = F.leaky_relu(conv(f'{name}_conv.conv', x), 0.2)
        return block(f'{name}_rgbd2', block(f'{name}_rgbd1', x))

    x = torch.cat([branch('vis', visible), branch('inf', infrared)], dim=1)
    for number in (4, 3, 2):
        x = F.leaky_relu(conv(f'decode{number}.conv', x), 0.2)
    return torch.tanh(conv('decode1.conv', x)) / 2 + 0.5


def _reflect(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """3x3 convolution with reflected borders."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), state[f'{name}.weight'], state[f'{name}.bias'])


def lrrnet(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """LRRNet."""

    def conv(name, x):
        return _reflect(state, f'{name}.conv2d', x)

    def shrink(x, threshold):
        return torch.sign(x) * torch.clamp(x.abs() - threshold, min=0)

    def code(branch, image):
        threshold = state[f'{branch}.lamj'].reshape(1, -1, 1, 1)
        codes = shrink(conv(f'{branch}.conv_W00', image), threshold)
        for k in range(4):
            block = f'{branch}.lrrblock{k}'
            residual = image - conv(f'{block}.conv_Wdz', codes)
            codes = shrink(state[f'{branch}.lamz'] * codes + conv(f'{block}.conv_Wdtz', residual), threshold)
        return codes.chunk(2, dim=1)

    low_x, high_x = code('get_ls1', infrared)
    low_y, high_y = code('get_ls2', visible)
    low = conv(
        'decoder.conv_ReL', torch.cat([conv('decoder.conv_ReZx', low_x), conv('decoder.conv_ReZy', low_y)], dim=1)
    )
    high = conv(
        'decoder.conv_ReH', torch.cat([conv('decoder.conv_ReUx', high_x), conv('decoder.conv_ReUy', high_y)], dim=1)
    )
    return low + high


def _norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """Batch norm with running statistics."""
    mean, variance, scale, shift = (state[f'{name}.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias'))
    return F.batch_norm(x, mean, variance, scale, shift)


def didfuse(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """DIDFuse."""

    def layer(name, x, reflect=False, prelu=True):
        conv, norm, slope = (f'{name}.{reflect + i}' for i in range(3))
        x = (
            _reflect(state, conv, x)
            if reflect
            else F.conv2d(x, state[f'{conv}.weight'], state[f'{conv}.bias'], padding=1)
        )
        x = _norm(state, norm, x)
        return F.prelu(x, state[f'{slope}.weight']) if prelu else x

    def encode(x):
        first = layer('encoder.cov1.cov1', x, reflect=True)
        second = layer('encoder.cov2.cov2', first)
        return first, second, *(torch.tanh(layer(f'encoder.cov{i}.cov{i}', second, prelu=False)) for i in (3, 4))

    first, second, background, detail = (x + y for x, y in zip(encode(infrared), encode(visible)))
    x = layer('decoder.cov5.cov5', torch.cat([background, detail], dim=1))
    x = layer('decoder.cov6.cov6', torch.cat([x, second], dim=1))
    return torch.sigmoid(layer('decoder.cov7.cov7', torch.cat([x, first], dim=1), reflect=True, prelu=False))


def ifcnn(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """IFCNN-MAX: luminances as three equal channels and the luminance of the result, or RGB."""

    def layer(name, x):
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode='replicate'), state[f'{name}.conv.weight'])
        return F.relu(_norm(state, f'{name}.bn', x))

    def encode(x):
        x = F.pad(x.expand(-1, 3, -1, -1), (3, 3, 3, 3), mode='replicate')
        return layer('conv2', F.conv2d(x, state['conv1.weight']))

    x = layer('conv3', torch.maximum(encode(visible), encode(infrared)))
    x = F.conv2d(x, state['conv4.weight'], state['conv4.bias'])
    if visible.shape[1] == 3:
        return x
    red, green, blue = x.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def tardal(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """The generator of TarDAL with its running statistics."""

    def conv(name, x):
        return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'], padding=1)

    def layer(name, x):
        return F.relu(_norm(state, f'{name}.1', conv(f'{name}.0', x)))

    x = layer('encoder', torch.cat([infrared, visible], dim=1))
    for i in range(3):
        x = torch.cat([x, layer(f'dense.{i}', x)], dim=1)
    x = F.relu(conv('fuse.0.0', x))
    x = layer('fuse.2', layer('fuse.1', x))
    return torch.tanh(conv('fuse.3.0', x))


def sage(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """The student of SAGE."""

    def layer(conv, norm, x):
        weight = state[f'{conv}.weight']
        x = F.conv2d(x, weight, state[f'{conv}.bias'], padding=weight.shape[-1] // 2)
        return F.leaky_relu(_norm(state, norm, x), 0.01)

    def module(number, x):
        for i in (0, 3, 6):
            x = layer(f'module{number}.{i}', f'module{number}.{i + 1}', x)
        return x

    def join(number, x, skip):
        x = torch.cat([F.interpolate(x, size=skip.shape[-2:], mode='bilinear', align_corners=False), skip], dim=1)
        return module(number, layer(f'adjust_channels{number}.0', f'adjust_channels{number}.1', x))

    x1 = module(1, torch.cat([visible, infrared], dim=1))
    x2 = module(2, F.max_pool2d(x1, 2))
    x3 = module(3, F.max_pool2d(x2, 2))
    x = join(5, join(4, x3, x2), x1)
    return torch.tanh(F.conv2d(x, state['final_decoder.0.weight'], state['final_decoder.0.bias'], padding=1))


def _conv(state: State, name: str, x: torch.Tensor, dilation: int = 1) -> torch.Tensor:
    """Convolution with reflected borders, depthwise where the weights are."""
    weight = state[f'{name}.weight']
    pad = dilation * (weight.shape[-1] // 2)
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    return F.conv2d(
        F.pad(x, (pad,) * 4, mode='reflect'), weight, state.get(f'{name}.bias'), dilation=dilation, groups=groups
    )


def lesefuse(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """LeSeFuse."""

    def conv(name, x, dilation=1):
        return F.relu(_norm(state, f'{name}.bn', _conv(state, f'{name}.op', x, dilation)))

    def residual(name, x, dilation=1):
        x = _conv(state, f'{name}.conv1x1', x)
        return conv(name, x, dilation) + x

    def enter(cell, x):
        return F.conv2d(F.relu(x), state[f'{cell}.preprocess.op.1.weight'])

    def cell_ir(x):
        op = 'cell_ir._ops.{}'.format
        s0 = enter('cell_ir', x)
        s1 = conv(op(0), s0)
        s2 = conv(op(1), s0) + conv(op(2), s1)
        s3 = residual(op(3), s0, 2) + residual(op(4), s1)
        s4 = conv(op(5), s2) + conv(op(6), s1)
        return torch.cat([s1, s2, s3, s4], dim=1)

    def cell_vis(x):
        op = 'cell_vis._ops.{}'.format
        s0 = enter('cell_vis', x)
        s1 = conv(op(0), s0)
        s2 = residual(op(1), s0) + residual(op(2), s0)
        s3 = conv(op(3), s1) + residual(op(4), s2)
        s4 = residual(op(5), s0) + conv(op(6), s1, 2)
        return torch.cat([s1, s2, s3, s4], dim=1)

    def cell_fu(x):
        op = 'cell_fu._ops.{}'.format
        s0 = enter('cell_fu', x)
        s1 = conv(op(0), s0)
        s2 = conv(op(1), s0) + residual(op(2), s0)
        s3 = residual(op(3), s1) + residual(op(4), s2)
        s4 = conv(op(5), s0) + residual(op(6), s2, 2)
        return torch.cat([s1, s2, s3, s4], dim=1)

    return _conv(state, 'conv1x1', cell_fu(torch.cat([cell_ir(infrared), cell_vis(visible)], dim=1)))


def smoa(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """SMoA on values of 0..255, image by image."""

    def sep(name, x):
        for first, second in ((1, 2), (4, 5)):
            x = _conv(state, f'{name}.op.{second}', _conv(state, f'{name}.op.{first}', F.relu(x)))
        return x

    def dil(name, x):
        return _conv(state, f'{name}.op.2', _conv(state, f'{name}.op.1', F.relu(x), dilation=2))

    def dense(name, x):
        x1 = F.prelu(_conv(state, f'{name}.conv1.conv', x), state[f'{name}.lrelu.weight'])
        x2 = F.prelu(_conv(state, f'{name}.conv2.conv', torch.cat([x, x1], dim=1)), state[f'{name}.lrelu.weight'])
        x3 = F.prelu(_conv(state, f'{name}.conv3.conv', torch.cat([x, x1, x2], dim=1)), state[f'{name}.lrelu.weight'])
        return 0.333333 * x3 + x

    def attention(name, x):
        y = _conv(state, f'{name}.conv1', x)
        u = _conv(state, f'{name}.conv2.conv', F.prelu(y, state[f'{name}.relu.weight']))
        pooled = torch.cat([u.max(1, keepdim=True)[0], u.mean(1, keepdim=True)], dim=1)
        return F.prelu(
            u * torch.sigmoid(_conv(state, f'{name}.se.spatial.conv', pooled)) + y, state[f'{name}.relu.weight']
        )

    def cell(name, table, x, y):
        states = [F.conv2d(F.relu(z), state[f'{name}.preprocess{i}.op.1.weight']) for i, z in enumerate((x, y))]
        for k in range(0, 8, 2):
            states.append(
                sum(op(f'{name}._ops.{k + i}', states[number]) for i, (op, number) in enumerate(table[k : k + 2]))
            )
        return torch.cat(states[2:], dim=1)

    def encode(name, table, x):
        stem = F.conv2d(F.pad(x * 255, (1, 1, 1, 1), mode='reflect'), state[f'{name}.stem.1.weight'])
        first = cell(f'{name}.cells.0', table, stem, stem)
        return first, cell(f'{name}.cells.1', table, stem, first)

    def weight(a):
        t = torch.trunc(a / a.max() * 255)
        inside = (t >= 0) & (t <= 255)
        h = torch.bincount(t[inside].long(), minlength=256)
        i = torch.arange(256)
        s = ((i[:, None] - i).abs() * h).sum(1).to(a.dtype)
        return torch.where(inside, (s / s.max())[t.clamp(0, 255).long()], 0)

    def merge(a, b):
        w = torch.stack([weight(x) - weight(y) for x, y in zip(a.detach(), b.detach())])
        return (0.5 + 0.5 * w) * a + (0.5 - 0.5 * w) * b

    a = encode(
        'encoder1', [(sep, 0), (attention, 1), (sep, 0), (sep, 2), (sep, 0), (sep, 3), (dense, 4), (dense, 3)], infrared
    )
    b = encode(
        'encoder2',
        [(attention, 1), (dil, 0), (dil, 0), (sep, 2), (sep, 0), (attention, 2), (sep, 0), (sep, 1)],
        visible,
    )
    shallow, deep = (merge(x, y) for x, y in zip(a, b))
    table = [(sep, 0), (dense, 1), (sep, 2), (sep, 0), (sep, 2), (sep, 0), (dense, 4), (sep, 0)]
    x = cell('decoder.cells.1', table, deep, cell('decoder.cells.0', table, shallow, deep))
    return _conv(state, 'decoder.ConvLayer', x) / 255


def gifnet(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """GIFNet with both streams through both blocks; block 1 of the first one changes nothing."""
    swin = 'extractor_multask.SwinTransformerSpecific'

    def windows(x, border):
        x = F.pad(x, border, mode='reflect')
        n, c, h, w = x.shape
        return x.reshape(n, 2, c // 2, h // 8, 8, w // 8, 8).permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, 2, 64, c // 2)

    def back(x, shape, border):
        n, c, h, w = shape
        rows, columns = (h + border[2] + border[3]) // 8, (w + border[0] + border[1]) // 8
        x = (
            x.reshape(n, rows, columns, 2, 8, 8, c // 2)
            .permute(0, 3, 6, 1, 4, 2, 5)
            .reshape(n, c, 8 * rows, 8 * columns)
        )
        return x[:, :, border[2] : border[2] + h, border[0] : border[0] + w]

    def block(number, a, m):
        place = f'{swin}.layer1.blocks.{number}'
        h, w = a.shape[-2:]
        border = (4, (4 - w) % 8, 4, (4 - h) % 8) if number else (0, -w % 8, 0, -h % 8)
        steps = torch.tensor([[[i // 8 - j // 8, i % 8 - j % 8] for j in range(64)] for i in range(64)], dtype=a.dtype)
        bias = F.relu(
            F.linear(torch.sign(steps) * torch.log(1 + steps.abs()), *parameters(f'{place}.attn.attn.meta.0'))
        )
        bias = F.linear(bias, *parameters(f'{place}.attn.attn.meta.2')).permute(2, 0, 1)
        parts, results = [], []
        for suffix, x in (('', a), ('_mfif', m)):
            mean = x.mean((1, 2, 3), keepdim=True)
            deviation = torch.sqrt((x - mean).square().mean((1, 2, 3), keepdim=True) + 1e-5)
            n = (x - mean) / deviation * state[f'{place}.norm1{suffix}.weight'] + state[f'{place}.norm1{suffix}.bias']
            scale, shift = (
                _conv(state, f'{place}.norm1{suffix}.meta1', deviation),
                _conv(state, f'{place}.norm1{suffix}.meta2', mean),
            )
            q, k = _conv(state, f'{place}.attn.QK{suffix}', n).chunk(2, dim=1)
            parts.append((q, k, _conv(state, f'{place}.attn.V{suffix}', n), scale, shift))
        for (q, k, v, scale, shift), suffix, x in zip(parts, ('', '_mfif'), (a, m)):
            q = parts[1][0] if number == 0 else q
            scores = windows(q, border) / q.shape[1] ** 0.5 * 2**0.5 @ windows(k, border).transpose(-2, -1) + bias
            y = back(scores.softmax(-1) @ windows(v, border), x.shape, border) + _conv(
                state, f'{place}.attn.conv{suffix}', v
            )
            x = x + _conv(state, f'{place}.attn.proj{suffix}', y) * scale + shift
            hidden = F.relu(_conv(state, f'{place}.mlp{suffix}.mlp.0', x))
            results.append(x + _conv(state, f'{place}.mlp{suffix}.mlp.2', hidden))
        return results

    def parameters(name):
        return state[f'{name}.weight'], state[f'{name}.bias']

    features = torch.cat([infrared, visible], dim=1)
    for i in (1, 2, 3):
        features = torch.cat([features, F.relu(_conv(state, f'getSharedFeatures.conv_{i}.conv2d', features))], dim=1)
    h, w = features.shape[-2:]
    padded = F.pad(features, (0, -w % 4, 0, -h % 4), mode='reflect')
    a, m = block(0, *(_conv(state, f'{swin}.patch_embed_{stream}.proj', padded) for stream in ('ivif', 'mfif')))
    a, m = block(1, a, m + state[f'{swin}.layer1.weights_mfif.0'] * a)
    x = torch.cat([features, _conv(state, f'{swin}.patch_unembed.proj.0', m)[:, :, :h, :w]], dim=1)
    x = _conv(
        state,
        'cnnDecoder.fuseComplementFeatures.mlp.2',
        F.relu(_conv(state, 'cnnDecoder.fuseComplementFeatures.mlp.0', x)),
    )
    for i in (1, 4, 7):
        x = F.relu(_conv(state, f'cnnDecoder.decoder.{i}', x))
    return torch.tanh(_conv(state, 'cnnDecoder.decoder.10', x)) / 2 + 0.5


TWINS: Dict[str, Callable] = dict(
    densefuse=densefuse,
    ifcnn=ifcnn,
    seafusion=seafusion,
    tardal=tardal,
    sage=sage,
    lrrnet=lrrnet,
    didfuse=didfuse,
    lesefuse=lesefuse,
    smoa=smoa,
    gifnet=gifnet,
)
