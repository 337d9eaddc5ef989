"""Bring a checkpoint of the official TDFusion or ReFusion code over to :class:`ReFusion`.

Names change, values never. The official files hold every convolution twice, once as an alias with ``.conv.`` in its
name: 140 entries for 86 tensors. The loss generation module, which official files never hold, has its rules here too.
"""

from pathlib import Path
from typing import List, Union

import torch
from mmengine.config import Config

from mmfusion.utils.conversion import Rule, State, rename
from mmfusion.utils.errors import UserError

from ..official import convert_files

SIDES = {'1': 'first', '2': 'second'}
MODALITIES = ('infrared', 'visible')  # what the official programs give the network, first and second


def _block_rules(old: str, new: str) -> List[Rule]:
    """Rules of a chain of Restormer blocks."""
    place = rf'{old}\.(\d+)'
    layers = {
        r'attn\.qkv': 'attention.qkv',
        r'attn\.qkv_dwconv': 'attention.qkv_depthwise',
        r'attn\.project_out': 'attention.project',
        r'ffn\.project_in': 'feed_forward.expand',
        r'ffn\.dwconv': 'feed_forward.depthwise',
        r'ffn\.project_out': 'feed_forward.project',
    }
    return [
        (rf'{place}\.(norm[12])\.body\.(weight|bias)', rf'{new}.\1.\2.\3'),
        (rf'{place}\.attn\.temperature', rf'{new}.\1.attention.temperature'),
        *((rf'{place}\.{layer}\.weight', rf'{new}.\1.{name}.weight') for layer, name in layers.items()),
    ]


def fuser_rules() -> List[Rule]:
    """Patterns of the fusion network's keys and the names in :class:`ReFusion`."""
    rules = [
        *_block_rules('decoder', 'decoder'),
        (r'project_out_0\.weight', 'reduce.weight'),
        (r'project_out_1\.weight', 'output.weight'),
        (r'FM\.project_E\.weight', 'fusion.gate.weight'),
        (r'FM\.project_E_d\.weight', 'fusion.gate_depthwise.weight'),
    ]
    for i, side in SIDES.items():
        rules += [
            (rf'project_in_{i}\.weight', f'stem_{side}.weight'),
            *_block_rules(f'encoder{i}', f'encoder_{side}'),
            (rf'FM\.temperature{i}', f'fusion.temperature_{side}'),
        ]
        layers = {
            f'qkv{i}': f'qkv_{side}',
            f'qkv{i}_dwconv': f'qkv_{side}_depthwise',
            f'project_mid{i}': f'project_{side}',
            f'project_E{i}': f'expand_{side}',
            f'project_E{i}_d': f'expand_{side}_depthwise',
            f'project_out{i}': f'output_{side}',
        }
        rules += [(rf'FM\.{layer}\.weight', f'fusion.{name}.weight') for layer, name in layers.items()]
    return rules


def loss_module_rules() -> List[Rule]:
    """Patterns of the loss generation module's keys and the names in :class:`LossGenerationModule`."""
    rules = [
        *_block_rules('encoder3', 'encoder_both'),
        (r'out1\.weight', 'reduce.weight'),
        (r'out2\.weight', 'activation.weight'),
        (r'out3\.weight', 'output.weight'),
    ]
    for i, side in SIDES.items():
        rules += [(rf'patch_embed{i}\.weight', f'stem_{side}.weight'), *_block_rules(f'encoder{i}', f'encoder_{side}')]
    return rules


def convert_fuser(state: State) -> State:
    """Weights of an official fusion network for :class:`ReFusion`.

    Raises:
        UserError: Unexpected keys, or an alias whose values are not those of its original.
    """
    return rename(_without_aliases(state), fuser_rules(), 'the fusion network of TDFusion and ReFusion')


def convert_loss_module(state: State) -> State:
    """Weights of an official loss generation module for :class:`LossGenerationModule`, of whoever kept one in a
    training of one's own.

    Args:
        state: Tensors by their official names, as ``mmfusion.utils.conversion.read_official`` gives them.

    Raises:
        UserError: As :func:`convert_fuser`.
    """
    return rename(_without_aliases(state), loss_module_rules(), 'the loss generation module of TDFusion')


def _without_aliases(state: State) -> State:
    """Drop ``X.conv.weight`` where ``X.weight`` is there with the same values."""
    differ = []
    kept = {}
    for key, value in state.items():
        original = key.replace('.conv.', '.')
        if original == key or original not in state:
            kept[original] = value
        elif value.shape != state[original].shape or not (value.is_meta or torch.equal(value, state[original])):
            differ.append(key)
    if differ:
        raise UserError(f'entries that should repeat another one differ from it: {", ".join(differ)}')
    return kept


def convert_checkpoint(source: Union[str, Path], target: Union[str, Path], config: Union[str, Path, Config]) -> State:
    """Convert a file and write it, with the prefix ``fuser.`` that a coupling gives its fuser.

    Args:
        source: Official checkpoint: a bare state dict, or a dict with one under ``state_dict``; a prefix ``module.`` is
            taken off.
        target: File to write; it appears whole or not at all.
        config: Config with ``fuser`` that the result has to fit.

    Returns:
        dict: The converted weights.

    Raises:
        UserError: The file cannot be loaded with ``weights_only``, or does not fit; keys that are missing, unexpected
            or of another shape are listed.
    """
    return convert_files(
        [source],
        target,
        config,
        'a checkpoint of TDFusion or ReFusion',
        lambda states, _: convert_fuser(*states),
        MODALITIES,
    )
