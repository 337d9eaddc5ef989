"""Resolved configs as plain data, and the record of those of version 0.1.0 that tests/test_resolved_configs.py compares
with.

The record is made again by::

    mkdir /tmp/former && git archive 87af940 configs | tar x -C /tmp/former
    python tests/helpers/resolved_configs.py /tmp/former/configs tests/data/resolved_configs.json.gz
"""

import gzip
import json
import sys
from inspect import signature
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

from mmengine.config import Config
from mmengine.runner import Runner

RECORD = Path(__file__).resolve().parents[1] / 'data' / 'resolved_configs.json.gz'
#: Keys that have an effect: what a runner takes, and what commands read. The others are names that configs give to
#: their own parts.
EFFECTIVE = {*signature(Runner.__init__).parameters, 'find_unused_parameters', 'adaptation'}


def plain(value: Any) -> Any:
    """Dicts, lists, numbers, strings and None as json has them: tuples become lists."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f'{value!r} is not what a config holds')


def resolve(folder: Path) -> Dict[str, dict]:
    """The effective part of every config of a folder, by name."""
    configs = {path.stem: Config.fromfile(path).to_dict() for path in sorted(folder.glob('*.py'))}
    return {
        name: plain({key: value for key, value in cfg.items() if key in EFFECTIVE}) for name, cfg in configs.items()
    }


def leaves(value: Any, path: str = '') -> Iterator[Tuple[str, Any]]:
    """Every value below a dict or list with its path, ``'model.tasks.det.backbone.deepen_factor'``."""
    parts = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if not parts:
        yield path, value
    for key, part in parts:
        yield from leaves(part, f'{path}.{key}'.lstrip('.'))


def write(configs: Dict[str, dict], file: Path) -> None:
    """The same configs always give the same bytes."""
    text = json.dumps(configs, indent=0, sort_keys=True)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


def read(file: Path = RECORD) -> Dict[str, dict]:
    return json.loads(gzip.decompress(file.read_bytes()))


if __name__ == '__main__':
    write(resolve(Path(sys.argv[1])), Path(sys.argv[2]))
