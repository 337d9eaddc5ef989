"""All networks one after the other, each in a process of its own, with a line of a file for each that is finished."""

import argparse
import importlib
import json
import multiprocessing
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence

from mmengine.logging import print_log

from mmfusion.fileio import write_json, write_text
from mmfusion.fileio.reading import parse_json, read_record, read_text
from mmfusion.utils import UserError, ensure_writable_dir, register_all_modules

from .attempt import attempt, limit_memory
from .families import FAMILIES, Family
from .judgment import status
from .page import markdown
from .small import missing_package

RESULTS_FILE, TABLE_FILE = 'task_networks.jsonl', 'task_networks.md'
#: Distributions whose versions a line names: with others it counts as not done.
PACKAGES = ('torch', 'onedl-mmcv', 'onedl-mmengine', 'onedl-mmdetection', 'onedl-mmsegmentation')


def versions() -> Dict[str, str]:
    """Versions of the packages that results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name).split('+')[0]
        except PackageNotFoundError:
            found[name] = 'not installed'
    return found


def read_results(path: Path) -> Dict[str, dict]:
    """Lines of a file of results by name; the last of a name counts, and one that was cut off does not.

    Raises:
        UserError: The file cannot be read.
    """
    found: Dict[str, dict] = {}
    if not path.exists():
        return found
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f'cannot read {path}: {error}; remove it, or choose another --work-dir') from error
    for line in lines:
        try:
            row = parse_json(line.encode())
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get('name'), str):
            found[row['name']] = row
    return found


def sweep(
    families: Sequence[Family], work_dir: Path, minutes: float = 10.0, memory: float = 5.0, again: Iterable[str] = ()
) -> List[dict]:
    """Try every network that has no line yet in the file of results of ``work_dir``.

    Args:
        families: Networks.
        work_dir: Folder of the results and of one folder for each network, with its config and its log.
        minutes: Time limit of each.
        memory: Memory limit of each, in GiB.
        again: Names that are tried though they have a line.

    Returns:
        list[dict]: The results of ``families``.

    Raises:
        UserError: The folder cannot be written.
    """
    ensure_writable_dir(work_dir)
    path = Path(work_dir) / RESULTS_FILE
    again, now = set(again), versions()
    register_all_modules()
    importlib.import_module('torch._dynamo')  # optimizers import it: once here instead of in every process
    for family in families:
        known = read_results(path).get(family.name)
        if known is not None and family.name not in again and known.get('versions') == now:
            continue
        facts = dict(name=family.name, package=family.package, config=family.config, versions=now)
        row = {**facts, **in_a_process(family, Path(work_dir) / folder_name(family.name), minutes, memory)}
        with open(path, 'a') as file:
            file.write(json.dumps(row) + '\n')
        print_log(f'{family.name}: {status(row)}', 'current')
    results = read_results(path)
    return [results[family.name] for family in families]


def folder_name(name: str) -> str:
    """A name for the file system.

    Examples:
        >>> folder_name('Mask2Former (mmseg)')
        'mask2former_mmseg'
    """
    return re.sub(r'[^a-z0-9+]+', '_', name.lower()).strip('_')


def in_a_process(family: Family, folder: Path, minutes: float, memory: float) -> dict:
    """Try one network in a forked process, which has everything imported and may crash."""
    absent = missing_package(family)
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / 'result.json'
    result.unlink(missing_ok=True)
    process = multiprocessing.get_context('fork').Process(target=_child, args=(family, folder, result, memory))
    process.start()
    process.join(minutes * 60)
    if process.is_alive():
        process.kill()
        process.join()
        return dict(
            reached='limit', error=dict(type='TimeLimit', message=f'not done after {minutes:g} minutes', place='')
        )
    if not result.exists():
        return dict(
            reached='crash', error=dict(type='Crash', message=f'the process ended with {process.exitcode}', place='')
        )
    row = read_record(result, 'run the sweep again')
    return dict(row, missing=absent) if absent else row


def _child(family: Family, folder: Path, result: Path, memory: float) -> None:
    log = os.open(folder / 'log.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    limit_memory(memory)
    write_json(result, attempt(family, folder))


def chosen(names: Optional[Sequence[str]]) -> List[Family]:
    """Families by name, all of them for None; a path of a config of mmdet or mmseg is one more.

    Raises:
        UserError: A name is neither.
    """
    found = []
    for name in names or FAMILIES:
        if name in FAMILIES:
            found.append(FAMILIES[name])
        elif name.endswith('.py') and Path(name).is_file():
            found.append(own_family(Path(name)))
        else:
            raise UserError(f'{name!r} is neither a config file nor one of {", ".join(FAMILIES)}')
    return found


def own_family(path: Path) -> Family:
    """A config of the user as a family of its own.

    Raises:
        UserError: Its model is neither a detector of mmdet nor a segmentor of mmseg.
    """
    from mmdet.registry import MODELS as DETECTORS
    from mmseg.registry import MODELS as SEGMENTORS

    from mmfusion.utils.config import read_config

    kind = (read_config(path).get('model') or {}).get('type', '')
    scope, _, plain = kind.rpartition('.')
    register_all_modules()
    for package, registry in (('mmdet', DETECTORS), ('mmseg', SEGMENTORS)):
        if scope in ('', package) and plain in registry.module_dict:
            return Family(path.stem, package, str(path.resolve()))
    raise UserError(f'{path}: its model is of type {kind!r}, which is no network of mmdet or mmseg')


def sweep_command(args: argparse.Namespace) -> None:
    """Run the sweep as the command line says, write the table beside the results and print it.

    Args:
        args: ``networks``, ``work_dir``, ``minutes``, ``memory``, ``again``.

    Raises:
        UserError: A name is unknown, or the work dir cannot be written.
    """
    families = chosen(args.networks)
    again = [family.name for family in families] if args.again else ()
    rows = sweep(families, args.work_dir, args.minutes, args.memory, again)
    table = Path(args.work_dir) / TABLE_FILE
    write_text(table, markdown(rows))
    print(f'\n{read_text(table)}\n{table}')
