"""Writing and reading of the file ``manifest.json`` beside a result."""

import datetime
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Union

from mmfusion.fileio import write_json
from mmfusion.fileio.reading import read_json, read_record, sha256
from mmfusion.utils.errors import UserError

from .data import FileSet, describe_dataset, describe_files
from .facts import code, machine, versions
from .hashing import digest, hash_files
from .places import PathLike, Places

MANIFEST_FILE, PLACES_FILE = 'manifest.json', 'places.json'
FORMAT = 1
#: Settings that say where results go or who runs a process, and nothing about a number.
NO_MATTER = ('work_dir', 'log_level', 'launcher', 'experiment_name')
_DAMAGED = 'make the result again'


def write_manifest(
    folder: PathLike,
    kind: str,
    *,
    key: Optional[str] = None,
    config: Optional[Any] = None,
    data: Optional[Mapping[str, Any]] = None,
    weights: Union[Mapping[str, PathLike], Iterable[PathLike], None] = None,
    outputs: Iterable[PathLike] = (),
    results: Optional[Any] = None,
    seeds: Optional[Any] = None,
    protocol: Optional[str] = None,
    runs: Sequence[str] = (),
    **facts: Any,
) -> Path:
    """Write what a result was made from into ``manifest.json`` of its folder, whole or not at all.

    A folder may hold several results, such as a training and its test, or the scores by two protocols: each is an
    entry, and writing one keeps the others. No path of this machine is in the file; where the folders that it names lie
    is in ``places.json``, which need not be shared.

    Args:
        folder: Folder of the result.
        kind: What it is: ``'training'``, ``'test'``, ``'score'``, ``'league'``, ...
        key: Name of the entry; ``kind`` when None.
        config: Resolved config (:class:`mmengine.config.Config` or dict).
        data: By name, a built data set, a :class:`FileSet`, or a folder with everything in it.
        weights: Files of weights, by name or listed.
        outputs: Files of the result, in ``folder``, whose hashes are stated.
        results: Its numbers, as JSON has them.
        seeds: Seed or seeds.
        protocol: Whose conventions metrics follow.
        runs: Folders below ``folder`` with manifests of their own that this result is drawn from.
        facts: What else to state.

    Returns:
        Path: The file.

    Raises:
        OSError: The file cannot be written; the message names it.
        TypeError: JSON cannot hold the results.
    """
    folder = Path(folder)
    places = Places()
    entry: Dict[str, Any] = dict(
        kind=kind,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        command=[places.share_all(argument) for argument in _command()],
        versions=versions(),
        code=code(),
        machine=machine(),
    )
    if config is not None:
        resolved = places.share_all(config.to_dict() if hasattr(config, 'to_dict') else dict(config), keep_tuples=True)
        entry['config'] = dict(
            name=os.path.basename(getattr(config, 'filename', None) or ''),
            sha256=config_digest(resolved),
            resolved=resolved,
        )
    if data:
        entry['data'] = {name: _describe(part, places) for name, part in data.items()}
    if weights:
        named = (
            weights.items()
            if isinstance(weights, Mapping)
            else ((os.path.basename(path), path) for path in map(str, weights))
        )
        entry['weights'] = {
            name: dict(file=places.share(os.path.abspath(path)), sha256=sha256(path), bytes=os.path.getsize(path))
            for name, path in named
        }
    stated = dict(
        protocol=protocol,
        seeds=seeds,
        results=results,
        outputs=_outputs(folder, outputs),
        runs=[str(run).replace(os.sep, '/') for run in runs],
        **facts,
    )
    entry.update({name: places.share_all(value) for name, value in stated.items() if value not in (None, {}, [])})
    path = folder / MANIFEST_FILE
    entries, known = _former(path, 'entries'), _former(folder / PLACES_FILE)
    write_json(folder / PLACES_FILE, {**known, key or kind: places.to_dict()}, indent=1)
    write_json(path, dict(manifest=FORMAT, entries={**entries, key or kind: entry}), indent=1)
    return path


def read_manifest(folder: PathLike) -> Dict[str, dict]:
    """Entries of the manifest of a folder, by name.

    Raises:
        UserError: There is none, it is damaged, or of a later version of mmfusion.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise UserError(
            f'{folder} has no {MANIFEST_FILE}: results made before mmfusion wrote them cannot be verified; {_DAMAGED}'
        )
    content = read_record(path, _DAMAGED)
    if content.get('manifest') != FORMAT:
        raise UserError(f'{path} has format {content.get("manifest")!r}, this version of mmfusion reads {FORMAT}')
    entries = content.get('entries')
    if not isinstance(entries, dict) or not all(
        isinstance(entry, dict) and 'kind' in entry for entry in entries.values()
    ):
        raise UserError(f'{path} is damaged: it has no entries; {_DAMAGED}')
    return entries


def has_manifest(folder: PathLike) -> bool:
    """Whether a folder states what its results were made from."""
    return (Path(folder) / MANIFEST_FILE).is_file()


def read_places(folder: PathLike, key: str) -> Places:
    """Where the folders of an entry lie; nothing is known where the file is absent."""
    path = Path(folder) / PLACES_FILE
    if not path.is_file():
        return Places()
    return Places.from_dict(read_record(path, 'remove it, and say where the folders are by --root').get(key) or {})


def config_digest(resolved: dict) -> str:
    """Hash of a resolved config, without settings that say nothing about a number."""
    return digest({name: value for name, value in resolved.items() if name not in NO_MATTER})


def _describe(part: Any, places: Places) -> Any:
    if isinstance(part, FileSet):
        return describe_files(part.paths, part.root, places)
    if isinstance(part, (str, Path)):
        return describe_files([path for path in Path(part).rglob('*') if path.is_file()], part, places)
    return describe_dataset(part, places)


def _former(path: Path, key: Optional[str] = None) -> dict:
    """What a file has held so far; nothing where it is absent or damaged, as a result that took hours must not be lost
    for it.
    """
    try:
        content = read_json(path)
        found = content if key is None else content[key]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _outputs(folder: Path, files: Iterable[PathLike]) -> Dict[str, Optional[str]]:
    hashes = hash_files([str(file) for file in files], trust_cache=False)
    return {os.path.relpath(file, folder).replace(os.sep, '/'): value for file, value in hashes.items()}


def _command() -> Sequence[str]:
    program, *arguments = sys.argv or ['']
    return [*(program if ' ' in program else os.path.basename(program)).split(' '), *arguments]
