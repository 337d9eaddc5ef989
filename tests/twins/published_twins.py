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


TWINS: Dict[str, Callable] = dict(densefuse=densefuse, seafusion=seafusion)
