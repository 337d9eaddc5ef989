"""Helpers of checkpoint converters: reading a published file, renaming keys by rules, finding what does not fit,
writing the result.
"""

import argparse
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from torch import nn

from mmfusion.fileio import save_torch

from .checkpoint import safe_load
from .errors import UserError
from .state_dict import MAX_LISTED, STATE_KEYS, State, compare, first_of, state_dict_of

Rule = Tuple[str, str]


def read_official(path: Union[str, Path], what: str, keys: Sequence[str] = STATE_KEYS) -> State:
    """Tensors by name of a published checkpoint: a bare state dict, or one under one of ``keys``.

    Args:
        path: File; loaded with ``weights_only``. Options of a training script (``argparse.Namespace``) may lie beside
            the weights.
        what: What it should be, for the error.
        keys: Where a state dict may stand, in order of preference. A program that keeps several networks in one file
            has a key for each (``('encoder', )``, then ``('decoder', )``).

    Returns:
        dict: Without the prefixes of DataParallel and ``torch.compile``.

    Raises:
        UserError: The file is missing, cut short, no checkpoint, would have to run pickled code, or holds no weights.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = safe_load(path)
    return state_dict_of(content, path, keys, what)


@contextmanager
def converting(*sources: Union[str, Path]) -> Iterator[None]:
    """Let errors of a conversion name the files that are converted; entries of unforeseen shapes become an error of
    that kind too.

    Raises:
        UserError: In place of any error that the weights are the cause of.
    """
    names = ', '.join(map(str, sources))
    try:
        yield
    except UserError as error:
        raise UserError(f'{names}: {error}') from None
    except (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f'{names}: an entry has not the shape that it has in the published files ({str(error).splitlines()[0]})'
        ) from error


def rename(state: State, rules: Iterable[Rule], what: str) -> State:
    """Rename all entries by the first rule that fits; those whose new name is empty are dropped.

    Args:
        state: Weights by name.
        rules: Regular expressions that must match the whole name, and what to put.
        what: The network's name for the error.

    Raises:
        UserError: Entries that no rule knows; the first are listed. It says where no rule fits anything, as with the
            file of another method.

    Examples:
        >>> rename({'conv1.weight': 1, 'mean': 0}, [(r'conv(\\d)\\.(.+)', r'layers.\\1.\\2'), ('mean', '')], 'the network')
        {'layers.1.weight': 1}
    """
    rules = list(rules)
    converted, unknown = {}, []
    for key, value in state.items():
        for pattern, name in rules:
            if re.fullmatch(pattern, key):
                if name:
                    converted[re.sub(pattern, name, key)] = value
                break
        else:
            unknown.append(key)
    if unknown:
        message = f'not part of {what}, unexpected keys: {first_of(sorted(unknown))}'
        if len(unknown) == len(state):
            message += (
                '. Not one of its keys belongs there: these are the weights of another method, or of another program'
            )
        raise UserError(message)
    return converted


def misfits(weights: State, module: nn.Module) -> List[str]:
    """Keys that are missing, unexpected or of another shape than those of ``module``, one sentence each; empty when all
    fit.

    Of each of the three kinds the first are named, and the others counted.
    """
    own = module.state_dict()
    misfit = compare(weights, own)
    shapes = [
        f'{key} has shape {tuple(weights[key].shape)}, the config needs {tuple(own[key].shape)}'
        for key in misfit.mismatched
    ]
    return [
        fault
        for faults in (
            [f'missing {key}' for key in misfit.missing],
            [f'unexpected {key}' for key in misfit.unexpected],
            shapes,
        )
        for fault in _shortened(faults)
    ]


def _shortened(faults: List[str]) -> List[str]:
    return (
        faults
        if len(faults) <= MAX_LISTED
        else [*faults[:MAX_LISTED], f'... and {len(faults) - MAX_LISTED} more of this kind']
    )


def check_converted(parts: Mapping[str, Tuple[State, nn.Module]], sources: Sequence[Union[str, Path]]) -> None:
    """Check that converted weights are those of their networks, name by name and shape by shape.

    Args:
        parts: By name, converted weights and the network that they have to fit, on any device; a single one may have
            the name ''.
        sources: Files that they come from.

    Raises:
        UserError: They do not fit; the first faults of each kind are listed.
    """
    faults = [
        f'{part}: {fault}' if part else fault
        for part, (weights, module) in parts.items()
        for fault in misfits(weights, module)
    ]
    if not faults:
        return
    found = [compare(weights, module) for weights, module in parts.values()]
    remedy = (
        ''
        if any(misfit.missing or misfit.unexpected for misfit in found)
        else (
            '\nEvery name is there and shapes differ: the weights are those of another width or variant. Give its '
            'config (--config), or change the one that is taken (--cfg-options)'
        )
    )
    raise UserError(f'{", ".join(map(str, sources))} does not fit the config:\n  ' + '\n  '.join(faults) + remedy)


def write_fuser(
    weights: State,
    fuser: nn.Module,
    sources: Sequence[Union[str, Path]],
    target: Union[str, Path],
    modalities: Optional[Sequence[str]] = None,
) -> State:
    """Write the weights of a fuser with the prefix ``fuser.`` that a coupling gives it, and return them so.

    Args:
        weights: Converted weights.
        fuser: The fuser that they have to fit, on any device.
        sources: Files that they come from.
        target: File to write; it appears whole or not at all.
        modalities: What the fuser takes as its first and its second source, where that is known; stands in the file's
            meta.

    Raises:
        UserError: Keys are missing, unexpected or of another shape; the first of each kind are listed.
    """
    check_converted({'': (weights, fuser)}, sources)
    weights = {f'fuser.{key}': value for key, value in weights.items()}
    write_weights(
        weights,
        ' and '.join(Path(source).name for source in sources),
        target,
        modalities=tuple(modalities) if modalities else None,
    )
    return weights


def write_weights(weights: State, source: Union[str, Path], target: Union[str, Path], **facts: object) -> None:
    """Write converted weights as a checkpoint whose meta names the file they come from, and ``facts``; it appears whole
    or not at all.
    """
    meta = dict(converted_from=Path(source).name, **{name: fact for name, fact in facts.items() if fact is not None})
    save_torch(target, dict(state_dict=weights, meta=meta))
