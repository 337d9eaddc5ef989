"""Bring checkpoints of the official TIM code over to :class:`TIM` and :class:`TwoStageTIM`.

One file holds stage 1, another one stage 2. Names change, and so does the order of channels where the published program
calls its network with the sources in another order than ours; values never do.
"""

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from torch import nn

from mmfusion.utils.conversion import Rule, State, rename
from mmfusion.utils.errors import UserError

from ..official import convert_files, fuser_without_weights
from .genotype import Genotype, load_genotype
from .operations import parse_operation

#: Places of the layers inside a published operation, and their names here.
LEAVES = dict(
    residual={
        r'op\.0\.conv': 'depthwise',
        r'op\.1': 'context',
        r'op\.2': 'pointwise',
        r'op\.3': 'norm',
        r'op\.4': 'activation',
    },
    dense={r'conv1\.conv': 'conv1', r'conv2\.conv': 'conv2', r'conv3\.conv': 'conv3', 'lrelu': 'activation'},
    dil_conv={r'op\.1\.conv': 'depthwise', r'op\.2': 'pointwise', r'op\.3': 'norm'},
    sep_conv={
        r'op\.1': 'depthwise1',
        r'op\.2': 'pointwise1',
        r'op\.3': 'norm1',
        r'op\.5': 'depthwise2',
        r'op\.6': 'pointwise2',
        r'op\.7': 'norm2',
    },
    eca={'conv1': 'conv', r'se\.conv': 'score', 'relu': 'activation'},
    spatial={r'se\.spatial\.conv': 'score'},
)
DOWN = {
    r'top\.0': 'pointwise',
    r'top\.1': 'activation1',
    r'top\.2': 'conv',
    r'top\.3': 'activation2',
    r'top\.5': 'project',
    r'bot\.1': 'shortcut',
}
UP = {
    r'top\.0': 'pointwise',
    r'top\.1': 'activation1',
    r'top\.2': 'transposed',
    r'top\.3': 'activation2',
    r'top\.4': 'project',
    r'bot\.1': 'shortcut',
}
#: Head with a PReLU.
HEAD = {r'0\.conv2d': '0', '1': '1', r'2\.conv2d': '2', r'3\.conv2d': '3'}


class Call(NamedTuple):
    """How a published program calls its networks.

    Attributes:
        modalities: Sources here, in the order of the data sets.
        stage1: Modalities in the order that stage 1 is given.
        stage2: Same for stage 2; None where there is none.
    """

    modalities: Tuple[str, str]
    stage1: Tuple[str, str]
    stage2: Optional[Tuple[str, str]]


CALLS: Dict[str, Call] = dict(
    ivif=Call(('visible', 'infrared'), ('infrared', 'visible'), ('visible', 'infrared')),
    light=Call(('visible', 'infrared'), ('visible', 'infrared'), None),
    mri_ct=Call(('mri', 'ct'), ('mri', 'ct'), ('mri', 'ct')),
    mri_pet=Call(('mri', 'pet'), ('pet', 'mri'), ('pet', 'mri')),
    mri_spect=Call(('mri', 'spect'), ('mri', 'spect'), ('mri', 'spect')),
)


def _layers(old: str, new: str, names: Dict[str, str]) -> List[Rule]:
    """Rules for layers with any kind of entries; ``names`` has a pattern and the new name of each."""
    return [(rf'{old}\.{pattern}\.(\w+)', rf'{new}.{name}.\1') for pattern, name in names.items()]


def _cell_rules(old: str, new: str, genotype: Genotype) -> List[Rule]:
    """Rules of the cells ``old.0``, ``old.1``... of a genotype."""
    rules = []
    for index, cell in enumerate(genotype.cells):
        source, target = rf'{old}\.{index}', f'{new}.{index}'
        rules += _layers(
            source, target, {r'preprocess1\.op\.1': 'preprocess.pointwise', r'preprocess1\.op\.2': 'preprocess.norm'}
        )
        chains = {'_ops': 'operations'}
        if cell.kind == 'multiscale':
            chains = {'_ops': 'chain_full', '_ops_1': 'chain_half', '_ops_2': 'chain_quarter'}
            rules.append((rf'{source}\.down_[24]\.body\.[01]\.(top\.4|bot\.0)\.filt', ''))
            for place, name, inner in (
                (r'down_2\.body\.0', 'down_half', DOWN),
                (r'upsample_2\.body\.0', 'up_half', UP),
                *((rf'down_4\.body\.{i}', f'down_quarter.{i}', DOWN) for i in range(2)),
                *((rf'upsample_4\.body\.{i}', f'up_quarter.{i}', UP) for i in range(2)),
            ):
                rules += _layers(rf'{source}\.{place}', f'{target}.{name}', inner)
            rules += _layers(
                rf'{source}\.SKFF',
                f'{target}.merge',
                {
                    r'conv_du\.0': 'squeeze',
                    r'conv_du\.1': 'activation',
                    **{rf'fcs\.{i}': f'scores.{i}' for i in range(3)},
                },
            )
        for chain, name in chains.items():
            for place, operation in enumerate(cell.operations):
                leaves = LEAVES.get(parse_operation(operation).kind, {})
                rules += _layers(rf'{source}\.{chain}\.{place}\._op', f'{target}.{name}.{place}', leaves)
    return rules


def convert_stage1(state: State, genotype: Genotype, swap: bool) -> State:
    """Weights of an official stage 1 for :class:`TIM`.

    Args:
        state: Official weights.
        genotype: That of the network.
        swap: The program gives the network its sources in the other order than the data sets here.

    Raises:
        UserError: Unexpected keys, or blur filters that are not the binomial one.
    """
    _check_filters(state)
    rules = [
        *_layers('stem', 'stem', {r'0\.conv2d': '0', '1': '1', r'2\.conv2d': '2', '3': '3'}),
        *_layers('stem_out', 'head', HEAD),
        *_cell_rules('cells', 'cells', genotype),
    ]
    weights = _with_counters(rename(state, rules, 'stage 1 of TIM'))
    if swap and 'stem.0.weight' in weights:
        weights['stem.0.weight'] = weights['stem.0.weight'].flip(1)
    return weights


def convert_stage2(state: State, genotypes: Dict[str, Genotype], order: Sequence[str]) -> State:
    """Weights of an official stage 2 for :class:`TwoStageTIM`.

    Args:
        state: Official weights.
        genotypes: Genotype of each branch by modality, in our order.
        order: Modalities in the order that the network is called with.

    Raises:
        UserError: Unexpected keys.
    """
    rules = [
        (r'spa\.spatial\.conv\.weight', 'merge.score.weight'),
        *_layers('stem_out4', 'merge.head', {rf'{i}\.conv2d': str(i) for i in range(3)}),
    ]
    for modality, stem, cells in zip(order, ('stem2', 'stem3'), ('cells3', 'cells2')):
        branch = f'branches.{modality}'
        rules += [
            *_layers(stem, f'{branch}.stem', {r'0\.conv2d': '0', '1': '1', r'2\.conv2d': '2', '3': '3', '4': '4'}),
            *_layers(stem.replace('stem', 'stem_out'), f'{branch}.auxiliary', HEAD),
            *_cell_rules(cells, f'{branch}.cells', genotypes[modality]),
        ]
    weights = _with_counters(rename(state, rules, 'stage 2 of TIM'))
    joined = weights.get('merge.head.0.weight')
    if joined is not None and 'merge.score.weight' not in weights and tuple(order) != tuple(genotypes):
        weights['merge.head.0.weight'] = torch.cat(joined.chunk(2, dim=1)[::-1], dim=1)
    return weights


def _check_filters(state: State) -> None:
    row = torch.tensor([1.0, 2.0, 1.0])
    for key, value in state.items():
        if key.endswith('.filt') and not (
            value.is_meta or torch.allclose(value, (row[:, None] * row / 16).to(value).expand(value.shape))
        ):
            raise UserError(f'{key} is not the 3x3 binomial filter')


def _with_counters(weights: State) -> State:
    """Add the batch counters of batch norms, which files of old torch versions may lack."""
    for key in list(weights):
        if key.endswith('.running_mean'):
            weights.setdefault(key.replace('running_mean', 'num_batches_tracked'), torch.tensor(0))
    return weights


def convert_checkpoint(
    task: str, sources: Sequence[Union[str, Path]], target: Union[str, Path], config: Union[str, Path, Config]
) -> State:
    """Convert one file per stage and write the result, with the prefix ``fuser.`` that a coupling gives its fuser.

    Args:
        task: Key of :data:`CALLS`, which says how the published program calls the networks.
        sources: Official checkpoints, stage 1 first: bare state dicts, or dicts with one under ``state_dict``.
        target: File to write; it appears whole or not at all.
        config: Config with ``fuser`` (``TIM`` for one file, ``TwoStageTIM`` for two) that the result has to fit.

    Returns:
        dict: The converted weights.

    Raises:
        UserError: The task is unknown, the files are not as many as the stages, a file cannot be loaded with
            ``weights_only``, or does not fit; keys that are missing, unexpected or of another shape are listed.
    """
    if task not in CALLS:
        raise UserError(f'unknown task {task!r}; there are {", ".join(CALLS)}')
    fuser = fuser_without_weights(config)
    call, two = CALLS[task], hasattr(fuser, 'branches')
    if len(sources) != 1 + two:
        raise UserError(
            f'{type(fuser).__name__} comes from {1 + two} file{"s" * two}, one per stage; got {len(sources)}'
        )
    if two and (call.stage2 is None or tuple(fuser.modalities) != call.modalities):
        raise UserError(f'task {task} does not suit the branches {", ".join(fuser.modalities)} of the config')

    def convert(stages: List[State], fuser: nn.Module) -> State:
        weights = convert_stage1(
            stages[0], load_genotype((fuser.stage1 if two else fuser).genotype), call.stage1 != call.modalities
        )
        if not two:
            return weights
        genotypes = {name: branch.genotype for name, branch in fuser.branches.items()}
        return {**_prefixed(weights, 'stage1.'), **convert_stage2(stages[1], genotypes, call.stage2)}

    return convert_files(sources, target, config, 'a checkpoint of TIM', convert)


def _prefixed(weights: State, prefix: str) -> State:
    return {f'{prefix}{key}': value for key, value in weights.items()}
