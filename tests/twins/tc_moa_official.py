"""Checkpoints of the official TC-MoA layout, made up, with names, shapes and random values; and the twin as a fuser."""

import argparse
import math
import re

import torch
import torch.nn.functional as F
from tc_moa_twin import CONFIG, PATCH, adapter_places, relative_index, twin

from mmfusion.models.fusers import TCMoA
from mmfusion.models.fusers.base import FuserOutput
from mmfusion.models.fusers.tc_moa.conversion import EXPERT, PARTS
from mmfusion.models.fusers.tc_moa.vit import Arch
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

#: Two encoder adapters and one decoder adapter, windows of 4 x 4 tokens.
TINY = dict(
    CONFIG,
    embed_dim=48,
    depth=6,
    num_heads=6,
    decoder_embed_dim=32,
    decoder_depth=4,
    decoder_num_heads=4,
    mlp_ratio=2,
    shift_window_size=4,
)


def official_shapes(config=CONFIG, grid=14):
    """Name and shape of every tensor of an official checkpoint, those of the MAE file first (without its
    ``mask_token``).
    """
    shapes = {}
    c, d, window, tasks = (
        config['embed_dim'],
        config['decoder_embed_dim'],
        config['shift_window_size'],
        config['task_num'],
    )

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
    for side, prefix, depth, heads, size in (
        ('encoder', '', config['depth'], config['num_heads'], c),
        ('decoder', 'decoder_', config['decoder_depth'], config['decoder_num_heads'], d),
    ):
        modules = len(adapter_places(depth, config))
        shapes[f'Alpha_{side}'] = (modules,)
        for j in range(depth // 2):
            shapes[f'{side[:2]}_relative_position.{j}.relative_position_bias_table'] = ((2 * window - 1) ** 2, heads)
            shapes[f'{side[:2]}_relative_position.{j}.relative_position_index'] = (window**2, window**2)
        for m in range(modules):
            name, inner = f'{prefix}blocks_MoA.{m}', size // 4
            shapes[f'{name}.dimReduction.weight'] = (inner, 2 * size)
            affine(f'{name}.norm1', 2 * size)
            affine(f'{name}.norm2', inner)
            shapes.update({f'{name}.MoA.{key}': (tasks, inner, 4) for key in ('w_gate', 'w_noise')})
            shapes.update({f'{name}.MoA.{key}': (1,) for key in ('mean', 'std')})
            for e in range(4):
                affine(f'{name}.MoA.experts.{e}.fc1', size // 32, inner)
                affine(f'{name}.MoA.experts.{e}.fc2', inner, size // 32)
            fusion = f'{side[:2] if prefix else ""}{"_" if prefix else ""}FusionLayer.{m}'
            shapes.update(
                {
                    f'{fusion}.conv1.weight': (inner, size, 1, 1),
                    f'{fusion}.conv2.weight': (inner, inner, 3, 3),
                    f'{fusion}.conv3.weight': (size, inner, 1, 1),
                }
            )
    return shapes


def is_adapter(name):
    """Whether a tensor is none of the MAE's."""
    return name.startswith(
        ('Alpha', 'en_rel', 'de_rel', 'blocks_MoA', 'decoder_blocks_MoA', 'FusionLayer', 'de_FusionLayer')
    )


def random_state(config=TINY, grid=14, seed=0, shifts=False):
    """A checkpoint of random weights that route, fuse and shift visibly, with ``modal_shifts`` when asked for."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in official_shapes(config, grid).items():
        size = 1.0 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.1
        state[name] = torch.randn(shape, generator=draw) * (
            0.5 if 'w_' in name or 'table' in name else 0.02 if 'pos_embed' in name else size
        )
        if 'norm' in name and name.endswith('weight') or name.startswith('Alpha'):
            state[name] = state[name] + (0.5 if name.startswith('Alpha') else 1.0)
        elif name.endswith('relative_position_index'):
            state[name] = relative_index(config['shift_window_size'])
        elif name.endswith(('MoA.mean', 'MoA.std')):
            state[name] = torch.full(shape, float(name.endswith('std')))
    if shifts:
        for name in [name for name in state if name.endswith('dimReduction.weight')]:
            channels = state[name].shape[1] // 2
            state[name.replace('dimReduction.weight', 'modal_shifts')] = (
                torch.randn(2 * config['task_num'], channels, generator=draw) * 0.1
            )
    return state


# ---- the twin on weights of the package


def arch_of(config):
    """The argument ``arch`` of a :class:`TCMoA` of these sizes."""
    return {key: config[key] for key in Arch._fields if key in config}


def options_of(config):
    """Further arguments."""
    return dict(
        interval=config['interval_tau'],
        offset=config['tau_shift_value'],
        window=config['shift_window_size'],
        upsample=config['upsample'],
    )


def to_official(weights):
    """The inverse of :func:`convert_official`: weights of :class:`TCMoA` under official names, shifts as
    ``modal_shifts`` (2 T, C).

    Gradients flow through. Constants that official files hold besides are not in the result.

    Raises:
        UserError: Unexpected keys.
    """
    number = next((len(value) for key, value in weights.items() if key.endswith('.mixture.experts.weight')), 1)
    state, unknown = {}, []
    for key, value in weights.items():
        named = _official_entries(key, value, number)
        unknown += [] if named else [key]
        state.update(named)
    if unknown:
        raise UserError(f'not part of TCMoA, unexpected keys: {", ".join(sorted(unknown))}')
    for part in PARTS:
        alphas = [key for key in state if key.startswith(f'Alpha_{part}.')]
        if alphas:
            state[f'Alpha_{part}'] = torch.stack([state.pop(f'Alpha_{part}.{m}') for m in range(len(alphas))])
    return state


def _official_entries(key, value, number):
    """What an entry of ours is there: one entry, one for each of a number of experts, or none for an unknown key."""
    if key.startswith('mae.'):
        return {key[len('mae.') :]: value}
    match = re.fullmatch(r'(en|de)coder\.(adapters|biases)\.(\d+)\.(.+)', key)
    if not match:
        return {}
    part, kind, m, name = f'{match[1]}coder', match[2], match[3], match[4]
    blocks, fusion, bias = PARTS[part]
    if kind == 'biases':
        return {f'{bias}_relative_position.{m}.relative_position_bias_table': value} if name == 'table' else {}
    moa, fusion = f'{blocks}blocks_MoA.{m}', f'{fusion}FusionLayer.{m}'
    plain = {
        'mix': f'Alpha_{part}.{m}',
        'mixture.reduce.weight': f'{moa}.dimReduction.weight',
        'mixture.gate.weight': f'{moa}.MoA.w_gate',
        'mixture.gate.noise_weight': f'{moa}.MoA.w_noise',
        'fusion.conv.weight': f'{fusion}.conv2.weight',
        'mixture.norm_in.weight': f'{moa}.norm1.weight',
        'mixture.norm_in.bias': f'{moa}.norm1.bias',
        'mixture.norm_code.weight': f'{moa}.norm2.weight',
        'mixture.norm_code.bias': f'{moa}.norm2.bias',
    }
    if name in plain:
        return {plain[name]: value}
    shaped = {
        'source_shift': (f'{moa}.modal_shifts', (-1, value.shape[-1])),
        'fusion.reduce.weight': (f'{fusion}.conv1.weight', (*value.shape, 1, 1)),
        'fusion.expand.weight': (f'{fusion}.conv3.weight', (*value.shape, 1, 1)),
    }
    if name in shaped:
        return {shaped[name][0]: value.reshape(shaped[name][1])}
    experts = dict(
        zip((f'mixture.experts.{ours}' for ours in ('reduce.weight', 'reduce.bias', 'weight', 'bias')), EXPERT)
    )
    if name in experts:
        values = value.transpose(1, 2) if name == 'mixture.experts.weight' else value.chunk(number)
        return {f'{moa}.MoA.experts.{e}.{experts[name]}': part for e, part in enumerate(values)}
    return {}


def parameters_of(fuser):
    """The parameters of a :class:`TCMoA` under official names; gradients reach the fuser."""
    return to_official(dict(fuser.named_parameters()))


@MODELS.register_module()
class TCMoATwin(TCMoA):
    """The twin as a fuser with published options, so that tools/analysis_tools/benchmark.py can time it."""

    def fuse(self, first, second, fusion_task=None, scale=None, shift=None):
        """Fuse as :func:`twin` does."""
        assert scale in (None, 1.0) and not shift
        height, width = first.shape[-2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        first, second = (F.pad(x, padding, mode='reflect') if any(padding) else x for x in (first, second))
        config = dict(CONFIG, **self.arch._asdict(), shift_window_size=self.encoder.window, upsample=self.upsample)
        out = twin(
            parameters_of(self),
            config,
            first,
            second,
            self.fusion_tasks.index(fusion_task or self.fusion_task),
            self.training,
        )
        losses = dict(loss_prompt=out['prompt'], loss_balance=out['aux'] / (self.epoch + 1)) if self.training else {}
        return FuserOutput(out['fused'][..., :height, :width], losses)


# ---- files

TINY_FUSER = dict(type='TCMoA', arch=arch_of(TINY), **options_of(TINY))
#: What a file may have around the weights.
WRAPS = {
    'bare': lambda state: state,
    'model': lambda state: dict(model=state),
    'state_dict': lambda state: dict(state_dict=state),
    'parallel': lambda state: dict(model={f'module.{key}': value for key, value in state.items()}),
    'pretraining': lambda state: dict(
        model=state, epoch=799, args=argparse.Namespace(lr=1e-3), optimizer=dict(state={}, param_groups=[])
    ),
}


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return exec, ('raise SystemExit("code ran")',)


def write(path, content):
    """Save a checkpoint."""
    torch.save(content, path)
    return path
