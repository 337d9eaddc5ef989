"""Slow, readable twins of the published fusers: every formula as it stands, in the default layout, source by source.

They read official weights under their official keys and share no code with the fusers; ``benchmarks/published_fusers.py`` times both.
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
        s = sum(F.conv2d(x, state[f'{name}.sobelconv.conv{axis}.weight'], padding=1, groups=x.shape[1]).abs() for axis in 'xy')
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
    low = conv('decoder.conv_ReL', torch.cat([conv('decoder.conv_ReZx', low_x), conv('decoder.conv_ReZy', low_y)], dim=1))
    high = conv('decoder.conv_ReH', torch.cat([conv('decoder.conv_ReUx', high_x), conv('decoder.conv_ReUy', high_y)], dim=1))
    return low + high


def _norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """Batch norm with running statistics."""
    mean, variance, scale, shift = (state[f'{name}.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias'))
    return F.batch_norm(x, mean, variance, scale, shift)


def didfuse(state: State, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
    """DIDFuse."""

    def layer(name, x, reflect=False, prelu=True):
        conv, norm, slope = (f'{name}.{reflect + i}' for i in range(3))
        x = _reflect(state, conv, x) if reflect else F.conv2d(x, state[f'{conv}.weight'], state[f'{conv}.bias'], padding=1)
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


TWINS: Dict[str, Callable] = dict(
    densefuse=densefuse,
    ifcnn=ifcnn,
    seafusion=seafusion,
    tardal=tardal,
    sage=sage,
    lrrnet=lrrnet,
    didfuse=didfuse,
)
