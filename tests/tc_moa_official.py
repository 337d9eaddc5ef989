"""Checkpoints of the official TC-MoA layout, made up: names, shapes, and random values for tests."""
import math

import torch
from tc_moa_twin import CONFIG, PATCH, adapter_places, relative_index

#: Two encoder adapters and one decoder adapter, windows of 4 x 4 tokens.
TINY = dict(CONFIG, embed_dim=48, depth=6, num_heads=6, decoder_embed_dim=32, decoder_depth=4, decoder_num_heads=4, mlp_ratio=2,
            shift_window_size=4)


def official_shapes(config=CONFIG, grid=14):
    """Name and shape of every tensor of an official checkpoint, those of the MAE file first (without its ``mask_token``)."""
    shapes = {}
    c, d, window, tasks = config['embed_dim'], config['decoder_embed_dim'], config['shift_window_size'], config['task_num']

    def affine(name, *shape):
        shapes.update({f'{name}.weight': shape, f'{name}.bias': shape[:1]})

    shapes.update(cls_token=(1, 1, c), pos_embed=(1, 1 + grid**2, c), decoder_pos_embed=(1, 1 + grid**2, d))
    affine('patch_embed.proj', c, 3, PATCH, PATCH)
    for name, depth, size in (('blocks', config['depth'], c), ('decoder_blocks', config['decoder_depth'], d)):
        hidden = int(size * config['mlp_ratio'])
        for i in range(depth):
            affine(f'{name}.{i}.norm1', size)
            affine(f'{name}.{i}.attn.qkv', 3 * size, size)
            affine(f'{name}.{i}.attn.proj', size, size)
            affine(f'{name}.{i}.norm2', size)
            affine(f'{name}.{i}.mlp.fc1', hidden, size)
            affine(f'{name}.{i}.mlp.fc2', size, hidden)
    affine('norm', c)
    affine('decoder_embed', d, c)
    affine('decoder_norm', d)
    affine('decoder_pred', 3 * PATCH**2, d)
    for side, prefix, depth, heads, size in (('encoder', '', config['depth'], config['num_heads'], c),
                                             ('decoder', 'decoder_', config['decoder_depth'], config['decoder_num_heads'], d)):
        modules = len(adapter_places(depth, config))
        shapes[f'Alpha_{side}'] = (modules, )
        for j in range(depth // 2):
            shapes[f'{side[:2]}_relative_position.{j}.relative_position_bias_table'] = ((2 * window - 1)**2, heads)
            shapes[f'{side[:2]}_relative_position.{j}.relative_position_index'] = (window**2, window**2)
        for m in range(modules):
            name, inner = f'{prefix}blocks_MoA.{m}', size // 4
            shapes[f'{name}.dimReduction.weight'] = (inner, 2 * size)
            affine(f'{name}.norm1', 2 * size)
            affine(f'{name}.norm2', inner)
            shapes.update({f'{name}.MoA.{key}': (tasks, inner, 4) for key in ('w_gate', 'w_noise')})
            shapes.update({f'{name}.MoA.{key}': (1, ) for key in ('mean', 'std')})
            for e in range(4):
                affine(f'{name}.MoA.experts.{e}.fc1', size // 32, inner)
                affine(f'{name}.MoA.experts.{e}.fc2', inner, size // 32)
            fusion = f'{side[:2] if prefix else ""}{"_" if prefix else ""}FusionLayer.{m}'
            shapes.update({f'{fusion}.conv1.weight': (inner, size, 1, 1), f'{fusion}.conv2.weight': (inner, inner, 3, 3),
                           f'{fusion}.conv3.weight': (size, inner, 1, 1)})
    return shapes


def is_adapter(name):
    """Whether a tensor is none of the MAE's."""
    return name.startswith(('Alpha', 'en_rel', 'de_rel', 'blocks_MoA', 'decoder_blocks_MoA', 'FusionLayer', 'de_FusionLayer'))


def random_state(config=TINY, grid=14, seed=0, shifts=False):
    """A checkpoint of random weights that route, fuse and shift visibly, with ``modal_shifts`` when asked for."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in official_shapes(config, grid).items():
        size = 1. / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else .1
        state[name] = torch.randn(shape, generator=draw) * (.5 if 'w_' in name or 'table' in name else .02 if 'pos_embed' in name else size)
        if 'norm' in name and name.endswith('weight') or name.startswith('Alpha'):
            state[name] = state[name] + (.5 if name.startswith('Alpha') else 1.)
        elif name.endswith('relative_position_index'):
            state[name] = relative_index(config['shift_window_size'])
        elif name.endswith(('MoA.mean', 'MoA.std')):
            state[name] = torch.full(shape, float(name.endswith('std')))
    if shifts:
        for name in [name for name in state if name.endswith('dimReduction.weight')]:
            channels = state[name].shape[1] // 2
            state[name.replace('dimReduction.weight', 'modal_shifts')] = torch.randn(2 * config['task_num'], channels, generator=draw) * .1
    return state
