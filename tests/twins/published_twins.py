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


TWINS: Dict[str, Callable] = dict(densefuse=densefuse)
