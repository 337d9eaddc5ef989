"""Reading a config file, with misspelled keys found before anything is built."""

import difflib
import inspect
from pathlib import Path
from typing import Optional, Union

from mmengine.config import Config

from .compat import read_yaml_as_data
from .errors import UserError
from .shipped import find_config

# besides the arguments of Runner: what mmengine and the tools read, and the helper names that configs commonly define
_EXTRA_KEYS = {
    'activation_checkpointing',
    'backend_args',
    'compile',
    'custom_imports',
    'data_root',
    'dataset_type',
    'efficient_conv_bn_eval',
    'env_cfg',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'sync_bn',
    'max_epochs',
    'max_iters',
    'optimizer',
    'runner_type',
    'test_pipeline',
    'train_pipeline',
    'tta_model',
    'tta_pipeline',
    'val_pipeline',
    'vis_backends',
    'work_dir',
    'num_classes',
    'img_scale',
    'base_lr',
    'batch_size',
    'num_workers',
    'train_dataset',
    'val_dataset',
    'test_dataset',
}
_CLOSE = 0.85
#: Bytes that a config may have. As runs write them down they have 1e4 to 1e5; a list of numbers of 1 MiB in Python took
#: 490 MiB and 11 s to read.
MAX_BYTES = 2**18


def load_config(path: Union[str, Path], cfg_options: Optional[dict] = None) -> Config:
    """Read a config file and merge options into it.

    Args:
        path: A config in Python, yaml or json, or the name of one that ships (``'moe_fusion_llvip'``, see
            :func:`find_config`).
        cfg_options: ``{'train_cfg.max_epochs': 1}``, as ``--cfg-options`` gives it.

    Raises:
        UserError: No such file, the file (or one of its bases) cannot be read, it has no ``model``, or a key looks
            misspelled: a top-level name in the file, or an option whose name is not in the config but resembles one
            that is.
    """
    path = find_config(path)
    cfg = read_config(path)
    check_top_level_keys(cfg, path)
    if cfg_options:
        check_options(cfg, cfg_options)
        cfg.merge_from_dict(cfg_options)
    if 'model' not in cfg:
        raise UserError(f"{path} has no 'model'; it is not a config that can be trained or tested (a file of _base_?)")
    if not isinstance(cfg.model, dict):
        raise UserError(f"{path}: 'model' must be a dict with a 'type', got {type(cfg.model).__name__}")
    return cfg


def read_config(path: Union[str, Path]) -> Config:
    """Read any config file, parts for ``_base_`` included. One in Python is a program and runs as such; yaml and json
    are read as data.

    Raises:
        UserError: No such file, or the file (or one of its bases) is too large or cannot be read.
    """
    path = find_config(path)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(
            f'{path} cannot be read: it has {path.stat().st_size} bytes, more than the {MAX_BYTES} that '
            f'a config may have'
        )
    _let_mmseg_be_a_base()
    read_yaml_as_data()
    try:
        return Config.fromfile(str(path))
    except FileNotFoundError as error:
        raise UserError(f'{path}: one of its _base_ files is missing: {error}') from error
    except SyntaxError as error:
        raise UserError(f'{_culprit(path, error)}, line {error.lineno}: {error.msg}') from error
    except RecursionError as error:
        raise UserError(f'{path} cannot be read: it, or a chain of its _base_ files, is nested without end') from error
    except Exception as error:  # a config is a program, so it may raise anything
        if package := _missing_package(error):
            raise UserError(f'{path} cannot be read: it imports {package}, which is not installed') from error
        raise UserError(f'{path} cannot be read: {type(error).__name__}: {error}') from error


def _missing_package(error: Optional[BaseException]) -> Optional[str]:
    """The package whose absence led to an error: mmengine names only the module that imports it."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.split('.')[0]
        error = error.__cause__ or error.__context__
    return None


def _culprit(path: Path, error: SyntaxError) -> str:
    """The file with a syntax error, as far as it is known: mmengine parses copies and text without a name."""
    try:
        compile(path.read_bytes(), str(path), 'exec')
    except SyntaxError:
        return str(path)
    except ValueError:
        pass
    return error.filename if error.filename and Path(error.filename).is_file() else f'{path}: one of its _base_ files'


def _let_mmseg_be_a_base() -> None:
    """Make ``_base_ = ['mmseg::...']`` work: mmengine looks for a package named mmsegmentation, which the maintained
    stack does not install.
    """
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.utils import is_installed

    if not is_installed(MODULE2PACKAGE['mmseg']):
        MODULE2PACKAGE['mmseg'] = 'mmseg'


def known_keys() -> set:
    """Top-level names with a meaning: the arguments of mmengine's Runner, and what the tools read."""
    from mmengine.runner import Runner

    return (set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | _EXTRA_KEYS


def check_top_level_keys(cfg: Config, path: Union[str, Path] = 'config') -> None:
    """Raise on a top-level name that is not known but resembles one that is; a config may define other names freely.

    Raises:
        UserError: ``train_dataloder`` and the like, with the key that was probably meant.
    """
    known = known_keys()
    for key in cfg:
        match = difflib.get_close_matches(key, known, n=1, cutoff=_CLOSE)
        # a helper next to the real key (model2, train_pipeline_stage2) is fine: only letters in excess or missing are
        # suspicious
        if key not in known and match and not key.startswith(match[0]) and not key.startswith('_'):
            raise UserError(
                f'{path}: unknown top-level key {key!r}. Did you mean {match[0]!r}? (Begin a name with _ to '
                f'keep it as it is.)'
            )


def check_options(cfg: Config, options: dict) -> None:
    """Raise on an option whose name is not in the config but resembles one that is: it would be added and change
    nothing.

    Raises:
        UserError: A misspelled option, or a path through something that is neither a dict nor a list.
    """
    for dotted in options:
        node, parts = cfg, dotted.split('.')
        for depth, part in enumerate(parts):
            where = '.'.join(parts[:depth]) or 'the config'
            if isinstance(node, (list, tuple)):
                if not part.isdigit() or int(part) >= len(node):
                    raise UserError(
                        f'--cfg-options {dotted}: {where} is a list of {len(node)}; '
                        f'{part!r} must be an index below that'
                    )
                node = node[int(part)]
            elif isinstance(node, (dict, Config)):
                if part not in node:
                    candidates = set(node) | (known_keys() if depth == 0 else set())
                    match = (
                        difflib.get_close_matches(part, candidates - {part}, n=1, cutoff=0.8)
                        if part not in candidates
                        else []
                    )
                    if match:
                        raise UserError(f'--cfg-options {dotted}: {where} has no {part!r}. Did you mean {match[0]!r}?')
                    break  # a new key: allowed, the constructors check their own arguments
                node = node[part]
            elif node is None:
                break
            else:
                raise UserError(f'--cfg-options {dotted}: {where} is {node!r}, so it has no {part!r}')
