"""Official weights of published fusers, made up: their keys and shapes with random values."""
import numpy as np
import torch


def conv(name, *shape):
    """A convolution with bias."""
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def norm(name, channels, counted=True):
    """A batch norm; old versions of torch did not count batches."""
    kinds = ('weight', 'bias', 'running_mean', 'running_var')
    return {**{f'{name}.{kind}': (channels, ) for kind in kinds}, **({f'{name}.num_batches_tracked': ()} if counted else {})}


def densefuse():
    keys = {}
    for i, shape in enumerate([(16, 1), (64, 64), (32, 64), (16, 32), (1, 16)], 1):
        keys.update(conv(f'conv{i}.conv2d', *shape, 3, 3))
    for i in range(3):
        keys.update(conv(f'DB1.denseblock.{i}.dense_conv.conv2d', 16, 16 * (i + 1), 3, 3))
    return keys


def seafusion():
    keys = {}
    for i, shape in ((4, (64, 96)), (3, (32, 64)), (2, (16, 32)), (1, (1, 16))):
        keys.update({**conv(f'decode{i}.conv', *shape, 3, 3), **norm(f'decode{i}.bn', shape[0])})
    for branch in 'vis', 'inf':
        keys.update(conv(f'{branch}_conv.conv', 16, 1, 3, 3))
        for i, (c, d) in enumerate([(16, 32), (32, 48)], 1):
            block = f'{branch}_rgbd{i}'
            keys.update({**conv(f'{block}.dense.conv1.conv', c, c, 3, 3), **conv(f'{block}.dense.conv2.conv', c, 2 * c, 3, 3),
                         **conv(f'{block}.convdown.conv', d, 3 * c, 1, 1), **conv(f'{block}.convup.conv', d, c, 1, 1),
                         f'{block}.sobelconv.convx.weight': (c, 1, 3, 3), f'{block}.sobelconv.convy.weight': (c, 1, 3, 3)})
    return keys


#: Official keys and shapes of the methods.
OFFICIAL = dict(densefuse=densefuse(), seafusion=seafusion())


def made_up(method):
    """Random official weights of a method; convolutions keep the size of what goes through them."""
    state = {}
    for key, shape in OFFICIAL[method].items():
        if len(shape) == 4:
            state[key] = torch.randn(shape) / np.sqrt(np.prod(shape[1:]) / 2)
        elif key.endswith('num_batches_tracked'):
            state[key] = torch.tensor(3)
        elif key.endswith(('bias', 'running_mean')):
            state[key] = torch.randn(shape) / 2
        else:
            state[key] = torch.rand(shape) + 0.5
    return state
