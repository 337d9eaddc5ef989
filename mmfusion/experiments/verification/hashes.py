"""Checks of hashes: versions, config, files, samples, weights, outputs."""

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from mmfusion.manifest import Places, versions
from mmfusion.manifest.content import config_digest
from mmfusion.manifest.data import list_samples
from mmfusion.manifest.hashing import SHORT, digest, hash_files
from mmfusion.registry import DATASETS, build_configured
from mmfusion.utils import UserError

MAX_NAMED = 10


def check_versions(entry: dict) -> Iterator[str]:
    """Packages whose version is another one."""
    now = versions()
    for name, before in entry.get('versions', {}).items():
        if now.get(name) != before:
            yield f'package {name}: the result was made with {before or "none"}, here is {now.get(name) or "none"}'


def check_config(entry: dict) -> Iterator[str]:
    """Whether the resolved config is the one that was hashed."""
    config = entry.get('config')
    if config and config_digest(config['resolved']) != config['sha256']:
        yield f'config {config["name"]}: its content in the manifest was changed, the hash does not fit'


def check_weights(entry: dict, places: Places) -> Iterator[str]:
    """Files of weights that are gone or have changed."""
    files = {name: places.find(facts['file']) for name, facts in entry.get('weights', {}).items()}
    hashes = hash_files(files.values(), trust_cache=False)
    for name, path in files.items():
        if hashes[path] != entry['weights'][name]['sha256']:
            yield f'weights {name}: {entry["weights"][name]["file"]} ' + _state(hashes[path])


def check_outputs(entry: dict, folder: Path) -> Iterator[str]:
    """Files of the result that are gone or have changed."""
    files = {name: str(folder / name) for name in entry.get('outputs', {})}
    hashes = hash_files(files.values(), trust_cache=False)
    for name, path in files.items():
        if hashes[path] != entry['outputs'][name]:
            yield f'output {name} {_state(hashes[path])}'


def check_files(entry: dict, places: Places) -> Iterator[str]:
    """Files of data that are gone or have changed; every byte is read.

    Raises:
        UserError: A folder of data is not known on this machine.
    """
    for name, facts in _sets(entry):
        root = places.find(facts['root'])
        if facts['count'] and not os.path.isdir(root):
            raise UserError(
                f'data {name!r}: {facts["root"]} is not on this machine; say where it is by --root '
                f'{facts["root"].lstrip("@")}=DIR'
            )
        stated = {
            os.path.normpath(os.path.join(folder, file)).replace(os.sep, '/'): value
            for folder, files in facts['files'].items()
            for file, value in files.items()
        }
        hashes = hash_files([os.path.join(root, file) for file in stated], trust_cache=False)
        now = {file: hashes[os.path.join(root, file)] for file in stated}
        wrong = [file for file, value in stated.items() if (now[file] and now[file][:SHORT]) != value]
        for file in wrong[:MAX_NAMED]:
            yield f'data {name!r}: {facts["root"]}/{file} {_state(now[file])}'
        if len(wrong) > MAX_NAMED:
            yield f'data {name!r}: and {len(wrong) - MAX_NAMED} more files'
        if not wrong and digest([[file, now[file]] for file in _in_order(stated, root)]) != facts['sha256']:
            yield f'data {name!r}: the hash of all files does not fit, though the first digits of each do'


def check_samples(entry: dict, places: Places) -> Iterator[str]:
    """Samples that are new or gone, and labels that have changed, in data sets that the config names."""
    resolved = places.find_all(entry.get('config', {}).get('resolved', {}))
    for name, facts in entry.get('data', {}).items():
        loader = resolved.get(f'{name}_dataloader')
        if not loader or 'dataset' not in loader:
            continue
        try:
            found = list(_listed(_without_pipelines(loader['dataset'])))
        except Exception as error:  # whatever it is, it is a finding: the data set could be built before
            yield f'split {name!r}: its data set cannot be listed any more: {error}'
            continue
        stated = [part.get('samples', {}) for part in _flat(facts)]
        if len(found) != len(stated):
            yield f'split {name!r}: {len(stated)} joined data sets were stated, {len(found)} are there'
            continue
        for before, now in zip(stated, found):
            lines = [f'{sample} is gone' for sample in before if sample not in now]
            lines += [f'{sample} is new' for sample in now if sample not in before]
            lines += [
                f'the labels of {sample} have changed'
                for sample in before
                if now.get(sample, before[sample]) != before[sample]
            ]
            yield from (f'split {name!r}: {line}' for line in lines[:MAX_NAMED])
            if len(lines) > MAX_NAMED:
                yield f'split {name!r}: and {len(lines) - MAX_NAMED} more'


def _sets(entry: dict) -> Iterator[Tuple[str, dict]]:
    for name, facts in entry.get('data', {}).items():
        for part in _flat(facts):
            yield name, part


def _flat(facts: Any) -> List[dict]:
    return [part for item in facts for part in _flat(item)] if isinstance(facts, list) else [facts]


def _listed(dataset: dict) -> Iterator[Dict[str, str]]:
    """Samples of each data set inside a built one, in the order in which a manifest lists them."""
    built = [build_configured(DATASETS, dataset)]
    while built:
        current = built.pop(0)
        if getattr(current, 'dataset', None) is not None:
            built.insert(0, current.dataset)
        elif getattr(current, 'datasets', None) is not None:
            parts = current.datasets
            built[:0] = list(parts.values() if isinstance(parts, dict) else parts)
        else:
            yield list_samples(current)[0]


def _without_pipelines(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: [] if key == 'pipeline' else _without_pipelines(value) for key, value in node.items()}
    return [_without_pipelines(value) for value in node] if isinstance(node, list) else node


def _in_order(names: Dict[str, Any], root: str) -> List[str]:
    """Names in the order of their full paths, as they were hashed."""
    return sorted(names, key=lambda name: os.path.abspath(os.path.join(root, name)))


def _state(value: Any) -> str:
    return 'is gone or cannot be read' if value is None else 'has changed'
