"""Loading checkpoints without executing pickled code, and refusing those of another model."""

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple, Union
from urllib.error import URLError

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from mmfusion.fileio.reading import read_text, reason
from mmfusion.moved import moved_names

from .compat import array_globals, replace_loaders
from .errors import UserError
from .state_dict import State, compare, is_plain, listing, state_dict_of
from .unwrap import unwrap

__getattr__ = moved_names(__name__, dict(MAX_LISTED='mmfusion.utils.state_dict'))

# what torch.load was seen to raise on files of other kinds and on damaged ones, besides UnpicklingError
_BROKEN = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)
# torch stores tensors as they are; a file whose records grow by more than this when they are unpacked is none of its
# own
_MAX_GROWTH = 8


def _history_buffer_method(owner: type, name: str) -> Callable:
    """Stand-in for ``getattr`` while unpickling: a HistoryBuffer refers to its own statistics methods, and nothing else
    may be reached.
    """
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'GLOBAL getattr({owner}, {name!r})')
    return getattr(owner, name)


def safe_globals() -> list:
    """What mmengine's own checkpoints hold besides tensors: message hub buffers and numpy numbers. None of these can
    run code.
    """
    dtypes = [type(np.dtype(kind)) for kind in ('bool', 'int32', 'int64', 'uint32', 'uint64', 'float32', 'float64')]
    return [HistoryBuffer, (_history_buffer_method, 'builtins.getattr'), *array_globals(), *dtypes]


def safe_load(path: Union[str, Path]) -> object:
    """Load a checkpoint file to the CPU with ``weights_only=True``.

    Raises:
        UserError: No such file, not a readable checkpoint, one that would have to run pickled code, or one that grows
            when it is unpacked.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'checkpoint not found: {path}')
    return _load(path, path, 'cpu')


def _load(file: object, name: object, map_location: object) -> object:

    def load() -> object:
        if isinstance(file, (str, Path)):
            _check_growth(Path(file))
        return torch.load(file, map_location=map_location, weights_only=True)

    return _explained(load, name)


def _check_growth(path: Path) -> None:
    """Raise a ValueError for a zip file that is cut off, or whose records are packed, as those of a zip bomb are."""
    if not zipfile.is_zipfile(path):
        with open(path, 'rb') as file:
            if file.read(2) == b'PK':
                raise ValueError('its end is missing')
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(record.file_size for record in archive.infolist())
    if unpacked > _MAX_GROWTH * path.stat().st_size:
        raise ValueError(f'it would grow to {unpacked} bytes when unpacked')


def _explained(load: Callable[[], object], path: object) -> object:
    """Call ``load`` with what checkpoints hold allowed; its errors say what is wrong with the file."""
    try:
        with torch.serialization.safe_globals(safe_globals()):
            return load()
    except URLError:
        raise
    except pickle.UnpicklingError as error:
        if not any(word in str(error) for word in ('GLOBAL', 'Trying to')):
            raise UserError(f'{path} is not a checkpoint, or it is damaged; copy or download it again') from error
        raise UserError(
            f'{path} holds pickled objects that could run code, so it is not loaded ({_blocked_global(error)}). '
            f'Convert a checkpoint '
            'that you trust to plain tensors first: torch.save(torch.load(path, weights_only=False)["state_dict"], '
            'new_path)'
        ) from error
    except _BROKEN as error:
        raise UserError(
            f'{path} is not a checkpoint, or it is damaged ({_first_sentence(error)}); copy or download it again'
        ) from error


def load_mmengine_safely() -> None:
    """Let mmengine load files and downloads as :func:`safe_load` does; by itself it runs pickled code where
    ``weights_only=True`` refuses a file.
    """

    def load(file: object, map_location: object = None, weights_only: Optional[bool] = None) -> object:
        name = file if isinstance(file, (str, Path)) else 'the checkpoint'
        return _named(_load(file, name, map_location), name)

    def load_url(url: str, *args, **kwargs) -> object:
        return _named(
            _explained(lambda: torch.hub.load_state_dict_from_url(url, *args, **{**kwargs, 'weights_only': True}), url),
            url,
        )

    replace_loaders(load, load_url)


def _named(content: object, path: object) -> dict:
    """Raise a UserError unless a file holds a dict by names, of which mmengine would make a ``TypeError``, or nothing
    without a word.
    """
    states = [content, content['state_dict']] if isinstance(content, dict) and 'state_dict' in content else [content]
    for state in states:
        if not isinstance(state, dict) or not all(
            isinstance(key, str) and (is_plain(value) or not isinstance(value, Tensor)) for key, value in state.items()
        ):
            raise UserError(
                f'{path} holds no weights that can be loaded: expected tensors by name, by themselves or under the key '
                f'"state_dict"'
            )
    return content


def checkpoint_modalities(content: object) -> Optional[Tuple[str, str]]:
    """Names of the sources that the weights of a checkpoint take, first and second: as a converter wrote them, or those
    of the training set.

    Examples:
        >>> checkpoint_modalities(dict(state_dict={}, meta=dict(modalities=['infrared', 'visible'])))
        ('infrared', 'visible')
        >>> checkpoint_modalities(dict(state_dict={}, meta=dict(dataset_meta=dict(modalities=('far', 'near')))))
        ('far', 'near')
    """
    meta = content.get('meta') if isinstance(content, dict) else None
    for owner in (meta, meta.get('dataset_meta')) if isinstance(meta, dict) else ():
        names = owner.get('modalities') if isinstance(owner, dict) else None
        if isinstance(names, (list, tuple)) and len(names) == 2 and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def check_resumable(path: Union[str, Path]) -> None:
    """Check that training can go on from a checkpoint.

    Raises:
        UserError: No such file, it is damaged, or it has only weights.
    """
    content = safe_load(path)
    absent = [
        key for key in ('meta', 'optimizer', 'message_hub') if not isinstance(content, dict) or key not in content
    ]
    if absent:
        raise UserError(
            f'{path} cannot be resumed from: it has no {", ".join(absent)} (weights only?). To start from its weights: '
            f'--cfg-options load_from={path}'
        )


def newest_checkpoint(work_dir: Union[str, Path]) -> Tuple[Optional[str], List[str]]:
    """The newest whole checkpoint that training in ``work_dir`` can go on from.

    That is the one that ``last_checkpoint`` names, unless it is missing or damaged; then the newest other ``.pth`` file
    beside it or in ``work_dir`` that training can go on from.

    Returns:
        tuple: Path or None, and a sentence for each damaged one that was passed over.
    """
    pointer, passed, folders = Path(work_dir) / 'last_checkpoint', [], [Path(work_dir)]
    named = ''
    if pointer.exists():
        try:
            named = read_text(pointer).strip()
            if '\0' in named:
                raise ValueError('it names no file')
        except (OSError, ValueError) as error:
            named = ''
            passed.append(f'{pointer} is damaged ({reason(error)})')
    if named:
        folders.append(Path(named).parent)
        try:
            check_resumable(named)
            return named, passed
        except UserError as error:
            passed.append(str(error))
    found = {path.resolve(): path for folder in folders if folder.is_dir() for path in folder.glob('*.pth')}
    for path in sorted(found.values(), key=lambda file: file.stat().st_mtime_ns, reverse=True):
        if named and path.resolve() == Path(named).resolve():
            continue
        try:
            check_resumable(path)
            return str(path), passed
        except UserError as error:
            if not path.name.startswith('best_'):  # those have only weights, as they should
                passed.append(str(error))
    return None, passed


def load_fusion_checkpoint(model: nn.Module, path: Union[str, Path], strict: bool = True) -> Dict[str, List[str]]:
    """Load the weights of a checkpoint into a model.

    Args:
        model: The model, in DDP or not.
        path: File with a bare state dict, or a dict that holds one under ``state_dict``.
        strict: Missing, unexpected or wrongly shaped entries are an error. Otherwise all that fits is loaded, the rest
            is listed in the result.

    Returns:
        Names under ``missing``, ``unexpected`` and ``mismatched`` (the latter with both shapes); all empty when strict.

    Raises:
        UserError: The file cannot be loaded, or (strict) it does not fit; all entries at fault are listed, the model
            stays as it was.
    """
    state = state_dict_of(safe_load(path), path)
    module = unwrap(model)
    own = module.state_dict()
    misfit = compare(state, own)
    missing, unexpected, mismatched = misfit
    shapes = [f'{key}: checkpoint {tuple(state[key].shape)}, model {tuple(own[key].shape)}' for key in mismatched]
    if strict and misfit:
        raise UserError(
            f'{path} does not fit {type(module).__name__}; it seems to be a checkpoint of another model or config.'
            + listing('missing in the checkpoint', missing)
            + listing('unknown to the model', unexpected)
            + listing('of another shape', shapes)
            + '\nUse the config that the checkpoint was trained with.'
            + (_fuser_remedy(module, path) if _is_fuser_state(module, state) else '')
        )
    module.load_state_dict(
        {key: value for key, value in state.items() if key in own and key not in mismatched}, strict=False
    )
    return dict(missing=missing, unexpected=unexpected, mismatched=shapes)


def holds_fuser_alone(model: nn.Module, path: Union[str, Path]) -> bool:
    """Whether a checkpoint is that of the fuser of a coupling which has other weights beside it, and fits it whole.

    Raises:
        UserError: The file cannot be loaded.
    """
    return _is_fuser_state(model, state_dict_of(safe_load(path), path))


def _is_fuser_state(model: nn.Module, state: State) -> bool:
    own = model.state_dict()
    fuser = {key: value for key, value in own.items() if key.startswith('fuser.')}
    return not compare(state, fuser) and len(own) > len(fuser) > 0


def _fuser_remedy(model: nn.Module, path: Union[str, Path]) -> str:
    name = type(model.fuser).__name__
    return (
        f' It is that of the fuser alone, and fits it: fuse with demo/image_demo.py --config {name} --weights {path}, '
        f'or train the rest from it with --cfg-options load_from={path}'
    )


def _first_sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0].split('. ')[0] if str(error).strip() else type(error).__name__


def _blocked_global(error: Exception) -> str:
    for line in str(error).splitlines():
        if 'GLOBAL' in line:
            return line.split('GLOBAL', 1)[1].split(' was not')[0].strip().rstrip('.')
    return str(error).splitlines()[-1]
