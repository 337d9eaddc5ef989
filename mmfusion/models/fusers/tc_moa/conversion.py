"""Bring checkpoints of the official TC-MoA code, of its present and of its old layout, over to :class:`TCMoA`.

Names change, values never. What stands in one tensor there and in several here, or the other way round: the numbers
alpha (one vector for all adapters there), the experts (four entries each there), 1x1 convolutions (linear layers here).
The source shifts are in no checkpoint of the present program, which draws them anew whenever it starts; without them
their expected value 0 is taken.
"""

import re
from pathlib import Path
from typing import List, Union

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from mmfusion.utils.conversion import Rule, State, rename
from mmfusion.utils.errors import UserError

from ..official import convert_files
from .mae_weights import check_arch

#: Old names of the published program, and what it calls them now.
RENAMED = (
    (r'blocks_SSF_rgb\.', 'blocks_MoA.'),
    (r'(blocks_MoA\.\d+\.)mlp\.', r'\1MoA.'),
    (r'(blocks_MoA\.\d+\.)SE_en_linear\.', r'\1dimReduction.'),
    (r'(blocks_MoA\.\d+\.)SSF_beta', r'\1modal_shifts'),
    (r'en_projAdapter\.', 'FusionLayer.'),
    (r'de_projAdapter\.', 'de_FusionLayer.'),
)
#: Prefixes of blocks, fusion layers and bias tables there, and of the parts of :class:`TCMoA`.
PARTS = {'encoder': ('', '', 'en'), 'decoder': ('decoder_', 'de_', 'de')}
EXPERT = ('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias')


def official_rules() -> List[Rule]:
    """Patterns of official keys, alpha taken apart, and the names in :class:`TCMoA`, experts not yet joined; an empty
    name drops the entry.
    """
    rules = []
    for part, (blocks, fusion, bias) in PARTS.items():
        moa, adapter = rf'{blocks}blocks_MoA\.(\d+)', rf'{part}.adapters.\1'
        rules += [
            (rf'Alpha_{part}\.(\d+)', f'{adapter}.mix'),
            (rf'{moa}\.modal_shifts', f'{adapter}.source_shift'),
            (rf'{moa}\.norm1\.(weight|bias)', rf'{adapter}.mixture.norm_in.\2'),
            (rf'{moa}\.dimReduction\.weight', f'{adapter}.mixture.reduce.weight'),
            (rf'{moa}\.norm2\.(weight|bias)', rf'{adapter}.mixture.norm_code.\2'),
            (rf'{moa}\.MoA\.w_gate', f'{adapter}.mixture.gate.weight'),
            (rf'{moa}\.MoA\.w_noise', f'{adapter}.mixture.gate.noise_weight'),
            (rf'{moa}\.MoA\.(mean|std)', ''),  # constants 0 and 1 of the normal distribution
            (rf'{moa}\.MoA\.experts\.(\d+)\.(fc[12])\.(weight|bias)', rf'{adapter}.mixture.experts.\2.\3.\4'),
            *(
                (rf'{fusion}FusionLayer\.(\d+)\.conv{i}\.weight', f'{adapter}.fusion.{name}.weight')
                for i, name in enumerate(('reduce', 'conv', 'expand'), 1)
            ),
            (rf'{bias}_relative_position\.(\d+)\.relative_position_bias_table', rf'{part}.biases.\1.table'),
            (rf'{bias}_relative_position\.\d+\.relative_position_index', ''),  # follows from the size of the windows
        ]
    return [
        *rules,
        (r'(MaxGradLoss|MFFselect)\.sobelconv\.weight[xy]', ''),  # constants of the losses
        ('mask_token', ''),
        (r'((decoder_)?(pos_embed|blocks\.\d+|norm|embed|pred)|patch_embed|cls_token)(\..+)?', r'mae.\1\4'),
    ]


def convert_official(state: State) -> State:
    """Weights of an official checkpoint, of the present or the old layout, for :class:`TCMoA`.

    Source shifts are taken where the checkpoint has them, as (2 T, C), (T, 2, C) or a list of vectors, rows 2k and 2k +
    1 for the first and second source of task k; otherwise they are 0, which the log says.

    Raises:
        UserError: Unexpected keys, or experts and source shifts that do not fit each other.
    """
    state = _taken_apart(_with_present_names(state))
    weights = rename(state, official_rules(), 'TC-MoA')
    adapters = sorted(
        {match[0] for match in (re.match(r'(en|de)coder\.adapters\.\d+', key) for key in weights) if match}
    )
    without = []
    for adapter in adapters:
        _join_experts(weights, f'{adapter}.mixture.experts')
        for name in ('reduce', 'expand'):
            kernel = weights.get(f'{adapter}.fusion.{name}.weight')
            if kernel is not None and kernel.shape[2:] == (1, 1):
                weights[f'{adapter}.fusion.{name}.weight'] = kernel.flatten(1)
        gate, code = (weights.get(f'{adapter}.mixture.{name}.weight') for name in ('gate', 'reduce'))
        if gate is None or code is None:
            continue  # reported as missing by who loads this
        shape = (len(gate), 2, code.shape[1] // 2)
        shift = weights.get(f'{adapter}.source_shift')
        if shift is None:
            weights[f'{adapter}.source_shift'] = code.new_zeros(shape)
            without.append(adapter)
        elif shift.numel() != shape[0] * 2 * shape[2]:
            raise UserError(
                f'the source shifts of {adapter} have shape {tuple(shift.shape)}, which is not two vectors of '
                f'{shape[2]} numbers for each of {shape[0]} tasks'
            )
        else:
            weights[f'{adapter}.source_shift'] = shift.reshape(shape)
    if without:
        MMLogger.get_current_instance().warning(
            f'The checkpoint has no source shifts for {len(without)} of {len(adapters)} adapters; they are set to 0, '
            f'the expected value of the '
            'random numbers that the published program puts there.'
        )
    return weights


def _with_present_names(state: State) -> State:
    renamed = {}
    for key, value in state.items():
        for old, new in RENAMED:
            key = re.sub(old, new, key)
        renamed[key] = value
    return renamed


def _taken_apart(state: State) -> State:
    """Alpha as one number per adapter, and shifts that are listed vector by vector as one tensor."""
    result, listed = {}, {}
    for key, value in state.items():
        match = re.fullmatch(r'(.+\.modal_shifts)\.(\d+)', key)
        if match:
            listed.setdefault(match[1], {})[int(match[2])] = value
        elif re.fullmatch(r'Alpha_(en|de)coder', key):
            result.update({f'{key}.{m}': number for m, number in enumerate(value.flatten())})
        else:
            result[key] = value
    return {**result, **{key: torch.cat([rows[i].flatten() for i in sorted(rows)]) for key, rows in listed.items()}}


def _join_experts(weights: State, place: str) -> None:
    """Replace the entries of the experts, one by one, by those of all. Incomplete ones stay, to be reported as
    unexpected.
    """
    numbers = sorted({int(key[len(place) + 1 :].split('.')[0]) for key in weights if key.startswith(f'{place}.')})
    parts = {name: [weights.get(f'{place}.{e}.{name}') for e in numbers] for name in EXPERT}
    if any(part is None or part.shape != group[0].shape for group in parts.values() for part in group):
        return
    for e in numbers:
        for name in EXPERT:
            del weights[f'{place}.{e}.{name}']
    if numbers:
        weights[f'{place}.reduce.weight'], weights[f'{place}.reduce.bias'] = (
            torch.cat(parts[name]) for name in EXPERT[:2]
        )
        weights[f'{place}.weight'] = torch.stack(parts['fc2.weight']).transpose(1, 2).contiguous()  # (E, hidden, D)
        weights[f'{place}.bias'] = torch.cat(parts['fc2.bias'])


def convert_checkpoint(source: Union[str, Path], target: Union[str, Path], config: Union[str, Path, Config]) -> State:
    """Convert a file and write it, with the prefix ``fuser.`` that a coupling gives its fuser.

    Args:
        source: Official checkpoint, of the present or the old layout: a bare state dict, or one under ``model``.
        target: File to write; it appears whole or not at all.
        config: Config with ``fuser`` that the result has to fit.

    Returns:
        dict: The converted weights.

    Raises:
        UserError: The file cannot be loaded with ``weights_only``, or does not fit; keys that are missing, unexpected
            or of another shape are listed.
    """

    def convert(states: List[State], fuser: nn.Module) -> State:
        check_arch(states[0], fuser.arch)
        return convert_official(states[0])

    return convert_files([source], target, config, 'a TC-MoA checkpoint', convert)
