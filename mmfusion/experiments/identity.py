"""Identity of a run as hashes of config, data and weights, so that its folder is not taken for that of another run."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Optional, Union

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset

from mmfusion.fileio import write_json
from mmfusion.fileio.reading import read_record, sha256
from mmfusion.registry import DATASETS, build_configured
from mmfusion.utils import UserError

PARTS = ('train', 'test')
_LOADING = (
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'worker_init_fn',
)  # do not change what comes out
_VALIDATION = ('val_begin', 'val_interval', 'dynamic_intervals')


def claim(file: Union[str, Path], facts: dict, ignore: Optional[Dict[str, str]] = None) -> None:
    """Write ``facts`` into a file, or compare them with what it says.

    Args:
        file: JSON file in the folder that is claimed.
        facts: What the results in the folder depend on.
        ignore: Facts that may differ when another one is known: a path, by the hash of what it points to.

    Raises:
        UserError: The folder belongs to a run with other facts; those that differ are named.
    """
    file = Path(file)
    if not file.exists():
        write_json(file, facts)
        return
    found = read_record(file, f'remove {file.parent}, or choose another --work-dir')
    facts = json.loads(json.dumps(facts))
    known = [key for key in facts if key in found and not facts.get((ignore or {}).get(key, ''))]
    changed = [key for key in known if facts[key] != found[key]]
    if changed:
        raise UserError(
            f'{file} belongs to another run ({", ".join(changed)} differ); choose another --work-dir, '
            f'or remove {file.parent}'
        )
    if set(facts) - set(found):  # an earlier version wrote fewer
        write_json(file, {**found, **facts})


def run_identity(cfg: Config, data: Optional[dict] = None) -> Dict[str, Any]:
    """Everything that the result of training and testing by a config depends on, apart from its seed.

    Args:
        cfg: The config of the run.
        data: Result of :func:`data_identity`, if it is known.

    Returns:
        dict: Hashes of ``model``, ``loaders``, ``evaluation`` and ``schedule``, of the weights that it starts from, and
        :func:`data_identity`. Files that the model names (checkpoints, genotypes) count by their content.
    """
    loaders = {part: _without(cfg.get(f'{part}_dataloader') or {}, _LOADING) for part in PARTS}
    schedule = {
        key: cfg.get(key)
        for key in ('optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'custom_hooks', 'find_unused_parameters')
    }
    start = cfg.get('load_from')
    return dict(
        model=_digest(_plain(cfg.model, sha256)),
        loaders=_digest(_plain(loaders)),
        evaluation=_digest(_plain(cfg.get('test_evaluator'))),
        schedule=_digest(_plain(dict(schedule, train_cfg=_without(cfg.get('train_cfg') or {}, _VALIDATION)))),
        start=sha256(start) if start and os.path.isfile(start) else start,
        data=data_identity(cfg) if data is None else data,
    )


def data_identity(cfg: Config) -> Dict[str, Any]:
    """Training and test set of a config: number of samples, and a hash of their names, their labels, and the sizes of
    their files.
    """
    return {part: _describe(cfg[f'{part}_dataloader']['dataset']) for part in PARTS if cfg.get(f'{part}_dataloader')}


def section_sha256(cfg: Config, *keys: str) -> str:
    """Hash of some sections of a config."""
    return _digest(Config({key: cfg.get(key) for key in keys}).to_dict())


def _describe(dataset: dict) -> Any:
    """Facts of a data set, of the one inside a wrapper, or of each that is joined."""
    if 'dataset' in dataset:
        return _describe(dataset['dataset'])
    for key in ('datasets', 'fusion_tasks', 'tasks'):  # the last is the former name
        if key in dataset:
            parts = dataset[key]
            return (
                {name: _describe(part) for name, part in parts.items()}
                if isinstance(parts, dict)
                else [_describe(part) for part in parts]
            )
    built = build_configured(DATASETS, dict(dataset, pipeline=[]))
    digest = hashlib.sha256()
    if isinstance(built, BaseDataset):
        for index in range(
            len(built)
        ):  # as it was listed: some data sets render their images when they are asked themselves
            digest.update(repr(_plain(BaseDataset.get_data_info(built, index), _name_and_size)).encode())
    return dict(
        pairs=len(built), split_hash=getattr(built, 'metainfo', {}).get('split_hash'), samples=digest.hexdigest()
    )


def _without(section: dict, keys: tuple) -> dict:
    return {key: value for key, value in dict(section).items() if key not in keys}


def _name_and_size(path: str) -> tuple:
    return os.path.basename(path), os.path.getsize(path)


def _plain(node: Any, of_file=None) -> Any:
    """Nested configs as built-in types, in one order; ``of_file`` stands for strings that name a file."""
    if isinstance(node, dict):
        return {str(key): _plain(node[key], of_file) for key in sorted(node, key=str)}
    if isinstance(node, (list, tuple)):
        return [_plain(value, of_file) for value in node]
    if isinstance(node, np.ndarray):
        return [node.dtype.str, node.shape, hashlib.sha256(np.ascontiguousarray(node)).hexdigest()]
    if of_file is not None and isinstance(node, str) and os.path.isfile(node):
        return of_file(node)
    if callable(node):  # its repr has an address
        return f'{node.__module__}.{node.__qualname__}'
    return node


def _digest(node: Any) -> str:
    return hashlib.sha256(repr(node).encode()).hexdigest()
