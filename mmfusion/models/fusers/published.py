"""Weights of published fusers: one table says how the official file of each method becomes the weights of its fuser
here.
"""

from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config

from mmfusion.utils.conversion import Rule, read_official, rename
from mmfusion.utils.errors import UserError
from mmfusion.utils.state_dict import STATE_KEYS, State, compare

from .base import BaseFuser
from .lesefuse import CELLS as LESEFUSE_CELLS
from .official import convert_files, fuser_without_weights

SOURCES = ('visible', 'infrared')


class PublishedMethod(NamedTuple):
    """How the official file of a method becomes weights.

    All fusers of the table take the visible image first and the infrared one second, whatever the published program
    does.

    Attributes:
        title: Name of the method.
        rules: Patterns of the official keys and the keys here; see :func:`~mmfusion.utils.conversion.rename`.
        fuser: Config of the fuser that official weights, under their official keys, are for.
        change: Applied to the renamed weights, where values have to change.
        keys: Under which keys of a file its state dict may stand.
        parts: Prefixes of the networks, in the order of their files, where the program keeps each in a file of its own;
            one file that holds all of them has these prefixes too.
    """

    title: str
    rules: List[Rule]
    fuser: Callable[[State], dict]
    change: Callable[[State], State] = dict
    keys: Tuple[str, ...] = STATE_KEYS
    parts: Tuple[str, ...] = ()


def _densefuse(state: State) -> dict:
    weight = state.get('conv1.conv2d.weight')
    return dict(
        type='DenseFuse', in_channels=3 if weight is not None and weight.dim() == 4 and weight.shape[1] == 3 else 1
    )


def _smaller_biases(state: State) -> State:
    """For values of 0..1 in place of 0..255, in a network of convolutions and ReLUs."""
    return {key: value / 255 if key.endswith('.bias') else value for key, value in state.items()}


def _with_counters(state: State) -> State:
    """With the batch counters of batch norms, which old versions of torch did not write."""
    counters = {
        key.replace('running_mean', 'num_batches_tracked'): torch.tensor(0)
        for key in state
        if key.endswith('running_mean')
    }
    return {**counters, **state}


def _norm_layers(*places: Tuple[str, str, str]) -> List[Rule]:
    """Rules of :class:`~mmfusion.models.layers.ConvNorm`: patterns of a convolution and of its batch norm, and the
    layer that they become.
    """
    return [
        (rf'{old}\.(\w+)', rf'{layer}.{part}.\1')
        for conv, norm, layer in places
        for old, part in ((conv, 'conv'), (norm, 'norm'))
    ]


def _ifcnn_rules() -> List[Rule]:
    layers = [(rf'conv{i}\.conv', rf'conv{i}\.bn', f'{name}.0') for i, name in ((2, 'encoder'), (3, 'decoder'))]
    return [(r'conv1\.weight', 'stem.weight'), *_norm_layers(*layers), (r'conv4\.(\w+)', r'picture.\1')]


def _tardal_rules() -> List[Rule]:
    return [
        (r'dense\.(\d+)\.0\.(\w+)', r'dense.\1.0.conv.\2'),
        (r'dense\.(\d+)\.1\.(\w+)', r'dense.\1.0.norm.\2'),
        *_norm_layers(
            (r'encoder\.0', r'encoder\.1', 'stem.0'),
            (r'fuse\.1\.0', r'fuse\.1\.1', 'decoder.1.0'),
            (r'fuse\.2\.0', r'fuse\.2\.1', 'decoder.2.0'),
        ),
        (r'fuse\.0\.0\.(\w+)', r'decoder.0.0.\1'),
        (r'fuse\.3\.0\.(\w+)', r'decoder.3.\1'),
    ]


def _sage_rules() -> List[Rule]:
    levels = {1: 'down.0', 2: 'down.1', 3: 'down.2', 4: 'up.0', 5: 'up.1'}
    layers = [
        (rf'module{number}\.{3 * i}', rf'module{number}\.{3 * i + 1}', f'{level}.{i}.0')
        for number, level in levels.items()
        for i in range(3)
    ]
    joins = [
        (rf'adjust_channels{number}\.0', rf'adjust_channels{number}\.1', f'join.{number - 4}.0') for number in (4, 5)
    ]
    return [*_norm_layers(*layers, *joins), (r'final_decoder\.0\.(\w+)', r'picture.\1')]


def _seafusion_rules() -> List[Rule]:
    rules = [(rf'decode{i}\.conv\.(\w+)', rf'decoder.{4 - i}.0.\1') for i in (4, 3, 2)] + [
        (r'decode1\.conv\.(\w+)', r'decoder.3.\1')
    ]
    rules.append((r'decode\d\.bn\.\w+', ''))  # the published program never uses them
    layers = {
        r'dense\.conv1\.conv': 'dense1.0',
        r'dense\.conv2\.conv': 'dense2.0',
        r'convdown\.conv': 'project',
        r'convup\.conv': 'project_gradient',
    }
    for branch, name in (('vis', 'visible'), ('inf', 'infrared')):
        rules.append((rf'{branch}_conv\.conv\.(\w+)', rf'{name}.0.0.\1'))
        for block, place in ((f'{branch}_rgbd1', f'{name}.1'), (f'{branch}_rgbd2', f'{name}.2')):
            rules += [(rf'{block}\.{old}\.(\w+)', rf'{place}.{new}.\1') for old, new in layers.items()]
            rules += [
                (rf'{block}\.sobelconv\.conv{axis}\.weight', f'{place}.{new}')
                for axis, new in (('x', 'across'), ('y', 'down'))
            ]
    return rules


def _without_tiny_values(weights: State) -> State:
    """Numbers that change nothing become zero: weights that decayed to subnormal ones make matrix products three times
    as slow on a CPU.
    """
    return {
        key: torch.where(value.abs() < 1e-20, 0, value) if value.is_floating_point() else value
        for key, value in weights.items()
    }


def _layers(names: Dict[str, str]) -> List[Rule]:
    """Rules for layers with any kind of entries: a pattern, and the new name of each."""
    return [(rf'{pattern}\.(\w+)', rf'{name}.\1') for pattern, name in names.items()]


def _lrrnet_rules() -> List[Rule]:
    rules = _layers({r'decoder\.conv_ReL\.conv2d': 'low_rank', r'decoder\.conv_ReH\.conv2d': 'sparse'})
    for branch, letter, name in (('get_ls1', 'x', 'infrared'), ('get_ls2', 'y', 'visible')):
        rules += [
            (rf'{branch}\.lamj', f'{name}.threshold'),
            (rf'{branch}\.lamz', f'{name}.scale'),
            (rf'{branch}\.lrrblock(\d+)\.conv_Wdz\.conv2d\.(\w+)', rf'{name}.reconstruct.\1.\2'),
            (rf'{branch}\.lrrblock(\d+)\.conv_Wdtz\.conv2d\.(\w+)', rf'{name}.correct.\1.\2'),
            *_layers(
                {
                    rf'{branch}\.conv_W00\.conv2d': f'{name}.start',
                    rf'decoder\.conv_ReZ{letter}\.conv2d': f'{name}.picture_low_rank',
                    rf'decoder\.conv_ReU{letter}\.conv2d': f'{name}.picture_sparse',
                }
            ),
        ]
    return rules


def _lrrnet(weights: State) -> State:
    return _without_tiny_values(
        {key: value.flatten() if key.endswith(('threshold', 'scale')) else value for key, value in weights.items()}
    )


def _didfuse_rules() -> List[Rule]:
    rules = _layers(
        {
            r'decoder\.cov7\.cov7\.1': 'picture.conv',
            r'decoder\.cov7\.cov7\.2': 'picture.norm',
            **{
                rf'encoder\.cov{i}\.cov{i}\.{j}': f'{part}.{layer}'
                for i, part in ((3, 'background'), (4, 'detail'))
                for j, layer in enumerate(('conv', 'norm'))
            },
        }
    )
    for place, first, name in (
        (r'encoder\.cov1\.cov1', 1, 'stem'),
        (r'encoder\.cov2\.cov2', 0, 'features'),
        (r'decoder\.cov5\.cov5', 0, 'join_parts'),
        (r'decoder\.cov6\.cov6', 0, 'join_features'),
    ):
        rules += _layers(
            {rf'{place}\.{first + i}': f'{name}.{layer}' for i, layer in enumerate(('0.conv', '0.norm', '1'))}
        )
    return rules


def _didfuse(weights: State) -> State:
    """Background and detail come from one convolution here."""
    weights = dict(weights)
    for key in [key for key in weights if key.startswith('background.')]:
        other = key.replace('background', 'detail')
        if other in weights:
            background, detail = weights.pop(key), weights.pop(other)
            weights[key.replace('background', 'parts')] = (
                torch.cat([background, detail]) if background.dim() else background
            )
    return weights


def _lesefuse_rules() -> List[Rule]:
    rules = [(r'conv1x1\.(\w+)', r'picture.\1')]
    for official, name in (('ir', 'infrared'), ('vis', 'visible'), ('fu', 'fusion')):
        rules.append((rf'cell_{official}\.preprocess\.op\.1\.weight', f'{name}.enter.0.weight'))
        operations = [operation for step in LESEFUSE_CELLS[name] for operation, _ in step]
        for k, operation in enumerate(operations):
            inner = 'plain.0.' if operation.startswith('res') else '0.'
            rules += _layers(
                {
                    rf'cell_{official}\._ops\.{k}\.{layer}': f'{name}.operations.{k}.{ours}'
                    for layer, ours in (('op', f'{inner}conv'), ('bn', f'{inner}norm'), ('conv1x1', 'pointwise'))
                }
            )
    return rules


def _smoa_rules() -> List[Rule]:
    cells = {r'encoder1\.cells': 'infrared.cells', r'encoder2\.cells': 'visible.cells', r'decoder\.cells': 'decoder'}
    layers = {
        **{
            rf'op\.{place}': name
            for place, name in ((1, 'depthwise.0'), (2, 'pointwise.0'), (4, 'depthwise.1'), (5, 'pointwise.1'))
        },
        **{rf'conv{i + 1}\.conv': f'convs.{i}' for i in range(3)},
        'lrelu': 'activation',
        'relu': 'activation',
        'conv1': 'conv1',
        r'se\.spatial\.conv': 'score',
    }
    rules = _layers(
        {r'encoder1\.stem\.1': 'infrared.stem', r'encoder2\.stem\.1': 'visible.stem', r'decoder\.ConvLayer': 'picture'}
    )
    for official, name in cells.items():
        rules += [
            (rf'{official}\.(\d)\.preprocess(\d)\.op\.1\.weight', rf'{name}.\1.enter.\2.weight'),
            *(
                (rf'{official}\.(\d)\._ops\.(\d)\.{layer}\.weight', rf'{name}.\1.operations.\2.{ours}.weight')
                for layer, ours in layers.items()
            ),
        ]
    return rules


def _smoa(weights: State) -> State:
    """For values of 0..1 in place of 0..255; an attention has one convolution of the name that three of a dense
    operation have.
    """
    dense = {key.rsplit('convs.', 1)[0] for key in weights if key.endswith('convs.0.weight')}
    weights = {
        key
        if 'convs.1.' not in key or key.rsplit('convs.', 1)[0] in dense
        else key.replace('convs.1.', 'conv2.'): value
        for key, value in weights.items()
    }
    return {
        key: value * 255 if '.stem.' in key else value / 255 if key.startswith('picture.') else value
        for key, value in weights.items()
    }


def _gifnet_rules() -> List[Rule]:
    swin = r'extractor_multask\.SwinTransformerSpecific'
    rules = [
        (rf'{swin}\.layer1\.weights_mfif\.0', 'share'),
        *_layers(
            {
                **{rf'getSharedFeatures\.conv_{i + 1}\.conv2d': f'features.{i}' for i in range(3)},
                rf'{swin}\.patch_embed_ivif\.proj': 'embed_ivif',
                rf'{swin}\.patch_embed_mfif\.proj': 'embed_mfif',
                rf'{swin}\.patch_unembed\.proj\.0': 'unembed',
                r'cnnDecoder\.fuseComplementFeatures\.mlp\.0': 'join',
                r'cnnDecoder\.fuseComplementFeatures\.mlp\.2': 'expand',
                **{rf'cnnDecoder\.decoder\.{3 * i + 1}': f'decoder.{i}' for i in range(4)},
            }
        ),
    ]
    for block, name in enumerate(('first', 'second')):
        place = rf'{swin}\.layer1\.blocks\.{block}'
        rules += [
            (rf'{place}\.attn\.attn\.meta\.(\d)\.(\w+)', rf'{name}.position.\1.\2'),
            (rf'{place}\.attn\.attn\.relative_positions', ''),
        ]
        for suffix, stream in (('', f'{name}.streams.0'), ('_mfif', f'{name}.streams.{1 - block}')):
            if block and not suffix:  # without influence on the picture
                continue
            layers = {
                rf'attn\.QK{suffix}': 'query_key',
                rf'attn\.V{suffix}': 'value',
                rf'attn\.conv{suffix}': 'local',
                rf'attn\.proj{suffix}': 'output',
                rf'norm1{suffix}\.meta1': 'scale',
                rf'norm1{suffix}\.meta2': 'shift',
                **{rf'mlp{suffix}\.mlp\.{i}': f'mlp.{i}' for i in (0, 2)},
            }
            rules += [
                (rf'{place}\.norm1{suffix}\.(weight|bias)', rf'{stream}.norm_\1'),
                *_layers({rf'{place}\.{layer}': f'{stream}.{ours}' for layer, ours in layers.items()}),
            ]
    return [
        *rules,
        (r'decoder_rec\..+', ''),
        (rf'{swin}\.layer1\.(weights|weights_mfif)\.\d', ''),
        (rf'{swin}\.layer1\.blocks\.1\.(norm1|attn\.(QK|V|conv|proj)|mlp)\..+', ''),
    ]


def _gifnet(weights: State) -> State:
    """Both streams are embedded by one convolution, and one layer makes queries, keys and values; the first stream of
    all does without queries.
    """
    weights = {
        key: value.flatten(1)
        if key.endswith(('scale.weight', 'shift.weight', 'output.weight'))
        else value.flatten()
        if '.norm_' in key
        else value
        for key, value in weights.items()
    }
    for kind in 'weight', 'bias':
        parts = [weights.pop(key) for key in (f'embed_ivif.{kind}', f'embed_mfif.{kind}') if key in weights]
        if parts:
            weights[f'embed.{kind}'] = torch.cat(parts)
    for key in [key for key in weights if '.query_key.' in key and key.replace('query_key', 'value') in weights]:
        made, value = weights.pop(key), weights.pop(key.replace('query_key', 'value'))
        if key.startswith('first.streams.0'):
            made = made[len(value) :]
        weights[key.replace('query_key', 'project')] = torch.cat([made, value]).reshape(
            len(made) + len(value), *value.shape[1:2]
        )
    return weights


PUBLISHED: Dict[str, PublishedMethod] = dict(
    densefuse=PublishedMethod(
        'DenseFuse',
        [
            (r'conv1\.conv2d\.(\w+)', r'stem.0.\1'),
            (r'DB1\.denseblock\.(\d)\.dense_conv\.conv2d\.(\w+)', r'dense.\1.0.\2'),
            *((rf'conv{i + 2}\.conv2d\.(\w+)', rf'decoder.{i}.0.\1') for i in range(4)),
        ],
        _densefuse,
        _smaller_biases,
    ),
    ifcnn=PublishedMethod('IFCNN', _ifcnn_rules(), lambda state: dict(type='IFCNN'), _with_counters),
    seafusion=PublishedMethod('SeAFusion', _seafusion_rules(), lambda state: dict(type='SeAFusion')),
    tardal=PublishedMethod(
        'TarDAL', _tardal_rules(), lambda state: dict(type='TarDAL'), keys=('fuse', *STATE_KEYS)
    ),  # its second version keeps networks apart
    sage=PublishedMethod('SAGE', _sage_rules(), lambda state: dict(type='SAGE')),
    lrrnet=PublishedMethod('LRRNet', _lrrnet_rules(), lambda _: dict(type='LRRNet'), _lrrnet),
    didfuse=PublishedMethod(
        'DIDFuse',
        _didfuse_rules(),
        lambda _: dict(type='DIDFuse'),
        _didfuse,
        ('weight', *STATE_KEYS),
        ('encoder.', 'decoder.'),
    ),
    lesefuse=PublishedMethod('LeSeFuse', _lesefuse_rules(), lambda _: dict(type='LeSeFuse'), _without_tiny_values),
    smoa=PublishedMethod(
        'SMoA', _smoa_rules(), lambda _: dict(type='SMoA'), _smoa, parts=('encoder1.', 'encoder2.', 'decoder.')
    ),
    gifnet=PublishedMethod('GIFNet', _gifnet_rules(), lambda _: dict(type='GIFNet'), _gifnet),
)


def convert_state(method: str, state: State) -> State:
    """Weights of a fuser from official ones.

    Args:
        method: Key of :data:`PUBLISHED`.
        state: Official weights by their official names.

    Raises:
        UserError: There are other keys than the published ones; those of another method are recognized.
    """
    entry = PUBLISHED[method]
    try:
        weights = rename(state, entry.rules, entry.title)
    except UserError:
        other = next((name for name in PUBLISHED if name != method and _is_of(state, name)), None)
        if other is None:
            raise
        raise UserError(
            f'these are weights of {PUBLISHED[other].title}, not of {entry.title}; use `mmfusion convert {other}`'
        ) from None
    return entry.change(weights)


def _is_of(state: State, method: str) -> bool:
    """Whether weights are those of a method, by their keys."""
    entry = PUBLISHED[method]
    try:
        weights = entry.change(rename(state, entry.rules, entry.title))
    except (UserError, RuntimeError, LookupError, TypeError, ValueError):
        return False
    misfit = compare(weights, fuser_without_weights(Config(dict(fuser=entry.fuser(state)))))
    return not misfit.missing and not misfit.unexpected


def convert_checkpoint(
    method: str,
    source: Union[str, Path, Sequence[Union[str, Path]]],
    target: Union[str, Path],
    config: Optional[Config] = None,
    options: Optional[dict] = None,
) -> Tuple[State, dict]:
    """Convert an official file and write it, with the prefix ``fuser.`` that a coupling gives its fuser.

    Args:
        method: Key of :data:`PUBLISHED`.
        source: Official file: a bare state dict, or one under one of the method's keys. For a method with ``parts``
            also the files of these, in their order.
        target: File to write; it appears whole or not at all.
        config: Config with ``fuser`` or ``model.fuser`` that the result has to fit; by default the published network.
        options: Changes of the default config, as ``{'fuser.width': 32}``.

    Returns:
        tuple: The converted weights, and the config of the fuser that they fit.

    Raises:
        UserError: The number of files is wrong, the config has no fuser; or see
            :func:`~mmfusion.models.fusers.official.convert_files`.
    """
    entry = PUBLISHED[method]
    what = f'a checkpoint of {entry.title}'
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if len(sources) not in (1, len(entry.parts)):
        raise UserError(
            f'{entry.title} comes from one file'
            + f' or from {len(entry.parts)}, {" ".join(entry.parts)}' * bool(entry.parts)
            + f'; got {len(sources)}'
        )
    if config is None:
        config = Config(dict(fuser=entry.fuser(read_official(sources[0], what, entry.keys))))
        config.merge_from_dict(options or {})
    fuser = config.get('fuser') or (config.get('model') or {}).get('fuser')
    if not fuser:
        raise UserError(f'{config.filename or "the config"} has neither `fuser` nor `model.fuser`')

    def convert(states: List[State], _: BaseFuser) -> State:
        prefixes = entry.parts if len(states) > 1 else ('',)
        return convert_state(
            method, {f'{prefix}{key}': value for prefix, state in zip(prefixes, states) for key, value in state.items()}
        )

    weights = convert_files(sources, target, Config(dict(fuser=fuser)), what, convert, SOURCES, entry.keys)
    return weights, fuser.to_dict()
