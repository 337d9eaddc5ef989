"""Weights of a masked autoencoder for the frozen part of :class:`TCMoA`.

The files are those of the official MAE repository that hold encoder and decoder, ``mae_visualize_vit_base.pth``,
``mae_visualize_vit_large.pth`` and ``mae_visualize_vit_large_ganloss.pth`` (license CC BY-NC 4.0), or a checkpoint of
its pretraining. Names stay as they are; the files hold one entry more than the network, ``mask_token``, which is
dropped. No other difference passes.
"""

import functools
import math
import re
from pathlib import Path
from typing import Dict, Union

import torch
from mmengine.logging import MMLogger
from torch import Tensor

from mmfusion.moved import moved_names
from mmfusion.utils.conversion import State, converting, misfits, read_official
from mmfusion.utils.errors import UserError

from .vit import ARCHS, Arch, MaskedAutoencoder, resize_grid

__getattr__ = moved_names(__name__, dict(read_state='mmfusion.utils.conversion:read_official'))

TABLES = ('pos_embed', 'decoder_pos_embed')
#: Sizes that can be read from the weights; the numbers of heads leave no trace in them.
SIZES = ('embed_dim', 'depth', 'decoder_embed_dim', 'decoder_depth', 'mlp_ratio', 'patch_size')


def sizes_of(state: State) -> Dict[str, float]:
    """The sizes named in :data:`SIZES` that the weights of a masked autoencoder show; those whose weights are missing
    are left out.

    Examples:
        >>> sizes_of({'patch_embed.proj.weight': torch.zeros(48, 3, 16, 16), 'blocks.2.norm1.weight': torch.zeros(48)})
        {'embed_dim': 48, 'patch_size': 16, 'depth': 3}
    """
    sizes = {}
    for size, name, axis in (
        ('embed_dim', 'patch_embed.proj.weight', 0),
        ('patch_size', 'patch_embed.proj.weight', -1),
        ('decoder_embed_dim', 'decoder_embed.weight', 0),
    ):
        if name in state and state[name].dim():
            sizes[size] = state[name].shape[axis]
    for size, blocks in (('depth', 'blocks'), ('decoder_depth', 'decoder_blocks')):
        places = [int(match[1]) for match in (re.match(rf'{blocks}\.(\d+)\.', key) for key in state) if match]
        if places:
            sizes[size] = max(places) + 1
    if 'embed_dim' in sizes and 'blocks.0.mlp.fc1.weight' in state:
        sizes['mlp_ratio'] = len(state['blocks.0.mlp.fc1.weight']) / sizes['embed_dim']
    return sizes


def check_arch(state: State, arch: Arch) -> None:
    """Say so when the weights are those of another architecture than ``arch``.

    Raises:
        UserError: Sizes differ; both architectures are named.
    """
    sizes = sizes_of(state)
    own = {name: getattr(arch, name) for name in SIZES}
    if any(name in sizes and sizes[name] != own[name] for name in SIZES):
        raise UserError(f'the weights are of {_label(sizes)}, but the fuser is {_label(own)}; set its `arch`')


def _label(sizes: Dict[str, float]) -> str:
    for name, arch in ARCHS.items():
        if all(getattr(arch, key) == value for key, value in sizes.items()):
            return f'arch {name!r}'
    return f'no arch known by name ({", ".join(f"{key}={value:g}" for key, value in sizes.items())})'


def load_mae(network: MaskedAutoencoder, path: Union[str, Path]) -> None:
    """Set every weight of the frozen part from a MAE checkpoint. Position tables of another grid are resized
    bilinearly.

    Args:
        network: The frozen part.
        path: MAE checkpoint.

    Raises:
        UserError: The file cannot be loaded with ``weights_only``, is of another architecture, has no decoder, or does
            not fit otherwise; keys that are missing, unexpected or of another shape are listed. The network stays as it
            was.
    """
    state = read_official(path, 'a MAE checkpoint')
    state.pop('mask_token', None)
    with converting(path):
        check_arch(state, network.arch)
        if 'patch_embed.proj.weight' in state and not any(key.startswith('decoder_') for key in state):
            raise UserError(
                'the file holds an encoder alone; TC-MoA needs the decoder too, which the files '
                'mae_visualize_vit_*.pth have'
            )
        for name in TABLES:
            if name in state:
                state[name] = resize_table(state[name], network.arch.grid)
    faults = misfits(state, network)
    if faults:
        raise UserError(f'{path} does not fit the frozen part of TC-MoA:\n  ' + '\n  '.join(faults))
    network.load_state_dict(state)


def resize_table(table: Tensor, grid: int) -> Tensor:
    """A position table (1, 1 + g * g, C) for a grid of another size: (1, 1 + grid * grid, C). The first row, of the
    class token, stays.

    Raises:
        UserError: The table is not one of a square grid with a class token.

    Examples:
        >>> resize_table(torch.zeros(1, 1 + 4 * 4, 8), 14).shape
        torch.Size([1, 197, 8])
    """
    old = math.isqrt(max(table.shape[1] - 1, 0)) if table.dim() == 3 else 0
    if not old or old**2 != table.shape[1] - 1:
        raise UserError(f'a position table of shape {tuple(table.shape)} is not one of a class token and a square grid')
    if old == grid:
        return table
    places = resize_grid(table[:, 1:].float().unflatten(1, (old, old)), (grid, grid))
    return torch.cat([table[:, :1], places.flatten(1, 2).to(table)], dim=1)


@functools.cache
def warn_of_random_weights() -> None:
    """Say that the frozen part is random, once per process."""
    MMLogger.get_current_instance().warning(
        'The frozen part of TCMoA starts from random weights, which suits tests alone: nothing trains it. Give `mae`, '
        'the path of a MAE checkpoint (mae_visualize_vit_base.pth, mae_visualize_vit_large_ganloss.pth), '
        'or load a checkpoint of the whole network.'
    )
