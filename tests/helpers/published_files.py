"""Official weights of published fusers, made up: their keys and shapes with random values; and recordings of the
official programs.
"""

from typing import NamedTuple

import numpy as np
import torch


def conv(name, *shape):
    """A convolution with bias."""
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def norm(name, channels, counted=True):
    """A batch norm; old versions of torch did not count batches."""
    kinds = ('weight', 'bias', 'running_mean', 'running_var')
    return {
        **{f'{name}.{kind}': (channels,) for kind in kinds},
        **({f'{name}.num_batches_tracked': ()} if counted else {}),
    }


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
            keys.update(
                {
                    **conv(f'{block}.dense.conv1.conv', c, c, 3, 3),
                    **conv(f'{block}.dense.conv2.conv', c, 2 * c, 3, 3),
                    **conv(f'{block}.convdown.conv', d, 3 * c, 1, 1),
                    **conv(f'{block}.convup.conv', d, c, 1, 1),
                    f'{block}.sobelconv.convx.weight': (c, 1, 3, 3),
                    f'{block}.sobelconv.convy.weight': (c, 1, 3, 3),
                }
            )
    return keys


def lrrnet():
    keys = {}
    for branch in 'get_ls1', 'get_ls2':
        keys.update(
            {f'{branch}.lamj': (1, 256), f'{branch}.lamz': (1, 1), **conv(f'{branch}.conv_W00.conv2d', 256, 1, 3, 3)}
        )
        for k in range(4):
            block = f'{branch}.lrrblock{k}'
            keys.update(
                {**conv(f'{block}.conv_Wdz.conv2d', 1, 256, 3, 3), **conv(f'{block}.conv_Wdtz.conv2d', 256, 1, 3, 3)}
            )
    for name, channels in dict(Zx=128, Ux=128, Zy=128, Uy=128, L=2, H=2).items():
        keys.update(conv(f'decoder.conv_Re{name}.conv2d', 1, channels, 3, 3))
    return keys


def didfuse():
    keys = {}
    for place, index, shape, slope in (
        ('encoder.cov1.cov1', 1, (64, 1), True),
        ('encoder.cov2.cov2', 0, (64, 64), True),
        ('encoder.cov3.cov3', 0, (64, 64), False),
        ('encoder.cov4.cov4', 0, (64, 64), False),
        ('decoder.cov5.cov5', 0, (64, 128), True),
        ('decoder.cov6.cov6', 0, (64, 128), True),
        ('decoder.cov7.cov7', 1, (1, 128), False),
    ):
        keys.update({**conv(f'{place}.{index}', *shape, 3, 3), **norm(f'{place}.{index + 1}', shape[0])})
        if slope:
            keys[f'{place}.{index + 2}.weight'] = (1,)
    return keys


def ifcnn():
    keys = {'conv1.weight': (64, 3, 7, 7), **conv('conv4', 3, 64, 1, 1)}
    for name in 'conv2', 'conv3':
        keys.update({f'{name}.conv.weight': (64, 64, 3, 3), **norm(f'{name}.bn', 64, counted=False)})
    return keys


def tardal():
    keys = {**conv('encoder.0', 32, 2, 3, 3), **norm('encoder.1', 32)}
    for i in range(3):
        keys.update({**conv(f'dense.{i}.0', 32, 32 * (i + 1), 3, 3), **norm(f'dense.{i}.1', 32)})
    for i, shape in enumerate([(128, 128), (64, 128), (32, 64), (1, 32)]):
        keys.update({**conv(f'fuse.{i}.0', *shape, 3, 3), **(norm(f'fuse.{i}.1', shape[0]) if i in (1, 2) else {})})
    return keys


def sage():
    keys = conv('final_decoder.0', 1, 32, 3, 3)
    for number in range(1, 6):
        for i in range(3):
            channels = 2 if (number, i) == (1, 0) else 32
            keys.update(
                {**conv(f'module{number}.{3 * i}', 32, channels, 3, 3), **norm(f'module{number}.{3 * i + 1}', 32)}
            )
    for number in 4, 5:
        keys.update({**conv(f'adjust_channels{number}.0', 32, 64, 1, 1), **norm(f'adjust_channels{number}.1', 32)})
    return keys


def lesefuse():
    keys = conv('conv1x1', 1, 32, 1, 1)
    cells = dict(ir=(1, 16, '1 3 1 r5 r3 1 1'), vis=(1, 16, '5 r1 r3 1 r1 r1 5'), fu=(128, 8, '3 1 r1 r5 r1 3 r3'))
    for name, (channels_in, channels, operations) in cells.items():
        keys[f'cell_{name}.preprocess.op.1.weight'] = (channels, channels_in, 1, 1)
        for k, operation in enumerate(operations.split()):
            place, size = f'cell_{name}._ops.{k}', int(operation[-1])
            keys.update({**conv(f'{place}.op', channels, channels, size, size), **norm(f'{place}.bn', channels)})
            if operation.startswith('r'):
                keys.update(conv(f'{place}.conv1x1', channels, channels, 1, 1))
    return keys


def smoa():
    separable = {
        f'op.{place + i}.weight': shape for place in (1, 4) for i, shape in enumerate([(16, 1, 3, 3), (16, 16, 1, 1)])
    }
    operations = dict(
        s=separable,
        S={key: (*shape[:2], 5, 5) if shape[1] == 1 else shape for key, shape in separable.items()},
        d={key: separable[key] for key in ('op.1.weight', 'op.2.weight')},
        D={**{f'conv{i}.conv.weight': (16, 16 * i, 3, 3) for i in (1, 2, 3)}, 'lrelu.weight': (1,)},
        a={
            'conv1.weight': (16, 16, 3, 3),
            'conv2.conv.weight': (16, 16, 3, 3),
            'se.spatial.conv.weight': (1, 2, 3, 3),
            'relu.weight': (1,),
        },
    )
    keys = {
        'encoder1.stem.1.weight': (8, 1, 3, 3),
        'encoder2.stem.1.weight': (8, 1, 3, 3),
        **conv('decoder.ConvLayer', 1, 64, 3, 3),
    }
    for name, kinds, inputs in (
        ('encoder1', 'sassSSDD', ((8, 8), (8, 64))),
        ('encoder2', 'addssass', ((8, 8), (8, 64))),
        ('decoder', 'sDssSsDs', ((64, 64), (64, 64))),
    ):
        for cell, channels_in in enumerate(inputs):
            keys.update(
                {
                    f'{name}.cells.{cell}.preprocess{i}.op.1.weight': (16, number, 1, 1)
                    for i, number in enumerate(channels_in)
                }
            )
            for k, kind in enumerate(kinds):
                keys.update({f'{name}.cells.{cell}._ops.{k}.{key}': shape for key, shape in operations[kind].items()})
    return keys


def gifnet():
    swin, join = 'extractor_multask.SwinTransformerSpecific', 'cnnDecoder.fuseComplementFeatures.mlp'
    keys = {f'{join}.0.weight': (98, 196, 1, 1), f'{join}.2.weight': (128, 98, 1, 1)}
    for i in range(3):
        keys.update(conv(f'getSharedFeatures.conv_{i + 1}.conv2d', 32, 2 + 32 * i, 3, 3))
    for name, widths in (('decoder_rec', (98, 64, 32, 16, 1)), ('cnnDecoder', (128, 64, 32, 16, 1))):
        for i in range(4):
            keys.update(conv(f'{name}.decoder.{3 * i + 1}', widths[i + 1], widths[i], 3, 3))
    for name in 'patch_embed_ivif.proj', 'patch_embed_mfif.proj', 'patch_unembed.proj.0':
        keys.update(conv(f'{swin}.{name}', 98, 98, 3, 3))
    for i in range(2):
        keys.update({f'{swin}.layer1.weights.{i}': (1,), f'{swin}.layer1.weights_mfif.{i}': (1,)})
        block = f'{swin}.layer1.blocks.{i}'
        keys.update(
            {
                f'{block}.attn.attn.relative_positions': (64, 64, 2),
                **conv(f'{block}.attn.attn.meta.0', 256, 2),
                **conv(f'{block}.attn.attn.meta.2', 2, 256),
            }
        )
        for stream in '', '_mfif':
            keys.update({f'{block}.norm1{stream}.{kind}': (1, 98, 1, 1) for kind in ('weight', 'bias')})
            for name, *shape in (
                ('norm1{}.meta1', 98, 1, 1, 1),
                ('norm1{}.meta2', 98, 1, 1, 1),
                ('attn.conv{}', 98, 1, 5, 5),
                ('attn.V{}', 98, 98, 1, 1),
                ('attn.proj{}', 98, 98, 1, 1),
                ('attn.QK{}', 196, 98, 1, 1),
                ('mlp{}.mlp.0', 196, 98, 1, 1),
                ('mlp{}.mlp.2', 98, 196, 1, 1),
            ):
                keys.update(conv(f'{block}.{name.format(stream)}', *shape))
    return keys


#: Official keys and shapes of the methods.
OFFICIAL = dict(
    densefuse=densefuse(),
    ifcnn=ifcnn(),
    seafusion=seafusion(),
    tardal=tardal(),
    sage=sage(),
    lrrnet=lrrnet(),
    didfuse=didfuse(),
    lesefuse=lesefuse(),
    smoa=smoa(),
    gifnet=gifnet(),
)


class Recording(NamedTuple):
    """Whose numbers a file holds, their scale where it is not [0, 1], arguments of the fuser beside those of the
    published network, and the
    share of pixels that have to agree to 1e-5."""

    method: str
    scale: float = 1
    arguments: dict = {}
    share: float = 1


RECORDED = dict(
    densefuse=Recording('densefuse', 255),
    densefuse_rgb=Recording('densefuse', 255),
    ifcnn=Recording('ifcnn', 1, dict(color_space='rgb')),
    seafusion=Recording('seafusion'),
    tardal=Recording('tardal'),
    tardalplusplus=Recording('tardal'),
    sage=Recording('sage'),
    lrrnet=Recording('lrrnet'),
    didfuse=Recording('didfuse'),
    gifnet=Recording('gifnet'),
    lesefuse=Recording('lesefuse'),
    smoa=Recording('smoa', 255, share=0.99),
)  # features that round to the other side of one of 256 levels


def read_recording(path):
    """A file ``NAME.pt`` with official weights, inputs and outputs, and its pairs of inputs, visible first, in [0,
    1].
    """
    recorded = torch.load(path, weights_only=True)
    scale = RECORDED[path.stem].scale
    return recorded, [
        [inputs.get(key, inputs.get(place)) / scale for key, place in (('visible', 'first'), ('infrared', 'second'))]
        for inputs in recorded['inputs']
    ]


def made_up(method):
    """Random official weights of a method; convolutions keep the size of what goes through them."""
    state = {}
    for key, shape in OFFICIAL[method].items():
        if len(shape) == 4:
            state[key] = torch.randn(shape) / np.sqrt(np.prod(shape[1:]))
            if '.conv_Wd' in key:  # what an iteration repeats must not grow
                state[key] /= 4
            elif key == 'conv1x1.weight':  # a picture within [0, 1]
                state[key] /= 16
        elif key.endswith('num_batches_tracked'):
            state[key] = torch.tensor(3)
        elif key.endswith('lamj'):  # thresholds, some of them negative
            state[key] = torch.randn(shape) / 10
        elif key.endswith(('bias', 'running_mean')):
            state[key] = torch.randn(shape) / 2
            if shape[0] in (1, 3):  # a picture that is neither black nor white
                state[key] = torch.full(shape, 0.5)
        else:
            state[key] = torch.rand(shape) + 0.5
    return state
