"""Helpers of checkpoint converters: renaming keys by rules, finding what does not fit, writing the result."""
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from torch import Tensor, nn

from mmfusion.fileio import save_torch

from .checkpoint import is_plain, safe_load
from .errors import UserError

State = Dict[str, Tensor]
Rule = Tuple[str, str]


def read_official(path: Union[str, Path], what: str, keys: Sequence[str] = ('state_dict', )) -> State:
    """Tensors by name of a published checkpoint: a bare state dict, or one under one of ``keys``.

    Args:
        path: File; loaded with ``weights_only``.
        what: What it should be, for the error.
        keys: Where a state dict may stand.

    Returns:
        dict: Without a prefix ``module.``.

    Raises:
        UserError: The file cannot be loaded, or holds something else.
    """
    content = safe_load(path)
    if isinstance(content, dict):
        content = next((content[key] for key in keys if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content or not all(isinstance(key, str) and is_plain(value) for key, value in content.items()):
        raise UserError(f'{path} is not {what}: expected tensors by name, by themselves or under the key "{keys[0]}"')
    return {key.removeprefix('module.'): value for key, value in content.items()}


@contextmanager
def converting(*sources: Union[str, Path]) -> Iterator[None]:
    """Let errors of a conversion name the files that are converted; entries of unforeseen shapes become an error of that kind too.

    Raises:
        UserError: In place of any error that the weights are the cause of.
    """
    names = ', '.join(map(str, sources))
    try:
        yield
    except UserError as error:
        raise UserError(f'{names}: {error}') from None
    except (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f'{names}: an entry has not the shape that it has in the published files ({str(error).splitlines()[0]})') from error


def rename(state: State, rules: Iterable[Rule], what: str) -> State:
    """Rename all entries by the first rule that fits; those whose new name is empty are dropped.

    Args:
        state: Weights by name.
        rules: Regular expressions that must match the whole name, and what to put.
        what: The network's name for the error.

    Raises:
        UserError: Entries that no rule knows; all are listed.

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
        raise UserError(f'not part of {what}, unexpected keys: {", ".join(sorted(unknown))}')
    return converted


def misfits(weights: State, module: nn.Module) -> List[str]:
    """Keys that are missing, unexpected or of another shape than those of ``module``, one sentence each; empty when all fit."""
    own = module.state_dict()
    faults = [f'missing {key}' for key in own if key not in weights] + [f'unexpected {key}' for key in weights if key not in own]
    return faults + [f'{key} has shape {tuple(weights[key].shape)}, the config needs {tuple(own[key].shape)}'
                     for key in own if key in weights and own[key].shape != weights[key].shape]


def write_fuser(weights: State,
                fuser: nn.Module,
                sources: Sequence[Union[str, Path]],
                target: Union[str, Path],
                modalities: Optional[Sequence[str]] = None) -> State:
    """Write the weights of a fuser with the prefix ``fuser.`` that a coupling gives it, and return them so.

    Args:
        weights: Converted weights.
        fuser: The fuser that they have to fit, on any device.
        sources: Files that they come from.
        target: File to write; it appears whole or not at all.
        modalities: What the fuser takes as its first and its second source, where that is known; stands in the file's meta.

    Raises:
        UserError: Keys are missing, unexpected or of another shape; all are listed.
    """
    faults = misfits(weights, fuser)
    if faults:
        raise UserError(f'{", ".join(map(str, sources))} does not fit the config:\n  ' + '\n  '.join(faults))
    weights = {f'fuser.{key}': value for key, value in weights.items()}
    write_weights(weights, ' and '.join(Path(source).name for source in sources), target, modalities=tuple(modalities) if modalities else None)
    return weights


def write_weights(weights: State, source: Union[str, Path], target: Union[str, Path], **facts: object) -> None:
    """Write converted weights as a checkpoint whose meta names the file they come from, and ``facts``; it appears whole or not at all."""
    meta = dict(converted_from=Path(source).name, **{name: fact for name, fact in facts.items() if fact is not None})
    save_torch(target, dict(state_dict=weights, meta=meta))
