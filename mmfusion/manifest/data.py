"""Hashes of image files, and of the samples and labels that a data set lists, for manifests."""

import os
from typing import Any, Dict, Iterable, Iterator, NamedTuple, Optional, Sequence, Tuple, Union

from .hashing import SHORT, digest, hash_files
from .places import PathLike, Places


class FileSet(NamedTuple):
    """Files that a result was made from.

    Attributes:
        paths: The files.
        root: Folder that their names are relative to; by default the one that they share.
    """

    paths: Sequence[PathLike]
    root: Optional[PathLike] = None


def describe_files(
    paths: Iterable[PathLike],
    root: Optional[PathLike] = None,
    places: Optional[Places] = None,
    trust_cache: bool = True,
) -> dict:
    """Hashes of a set of files.

    Args:
        paths: The files.
        root: Folder that their names are relative to; by default the one that they share.
        places: How folders are called.
        trust_cache: See :func:`~mmfusion.manifest.hashing.hash_files`.

    Returns:
        dict: ``root``; ``files``: by folder below it and file name, the first digits of the sha256 (None where it
        cannot be read); ``count``, ``bytes``, and ``sha256`` of all names with all digits.
    """
    places = places or Places()
    full = sorted({os.path.abspath(path) for path in paths})
    if root is None:
        root = os.path.commonpath([os.path.dirname(path) for path in full]) if full else '.'
    root = os.path.abspath(root)
    hashes = hash_files(full, trust_cache)
    names = {path: os.path.relpath(path, root).replace(os.sep, '/') for path in full}
    files: Dict[str, Dict[str, Optional[str]]] = {}
    for path in full:
        folder, name = os.path.split(names[path])
        value = hashes[path]
        files.setdefault(folder or '.', {})[name] = value and value[:SHORT]
    return dict(
        root=places.share(root),
        count=len(full),
        bytes=sum(os.path.getsize(path) for path in full if hashes[path]),
        sha256=digest([[names[path], hashes[path]] for path in full]),
        files=files,
    )


def describe_dataset(dataset: Any, places: Optional[Places] = None, trust_cache: bool = True) -> Union[dict, list]:
    """Files, samples and labels of a built data set, of the one inside a wrapper, or of each that is joined.

    Args:
        dataset: A :class:`mmengine.dataset.BaseDataset`, or a wrapper of some.
        places: How folders are called.
        trust_cache: See :func:`~mmfusion.manifest.hashing.hash_files`.

    Returns:
        dict: Result of :func:`describe_files` with ``samples``: by name, the first digits of the hash of its labels;
        ``split_sha256``: hash of names and labels; a list of such dicts for joined sets.
    """
    places = places or Places()
    inner = getattr(dataset, 'dataset', None)
    if inner is not None:
        return describe_dataset(inner, places, trust_cache)
    parts = getattr(dataset, 'datasets', None)
    if parts is not None:
        parts = parts.values() if isinstance(parts, dict) else parts
        return [describe_dataset(part, places, trust_cache) for part in parts]
    samples, paths = list_samples(dataset)
    root = getattr(dataset, 'data_root', '') or None
    if root is not None and not all(_is_below(path, root) for path in paths):
        root = None
    facts = describe_files(paths, root, places, trust_cache)
    return dict(facts, type=type(dataset).__name__, samples=samples, split_sha256=digest(samples))


def list_samples(dataset: Any) -> Tuple[Dict[str, str], list]:
    """Label hashes by name of sample, and the files of a data set: images, class maps, the id list."""
    from mmengine.dataset import BaseDataset  # scoring of folders does without mmengine

    samples: Dict[str, str] = {}
    paths = []
    if isinstance(dataset, BaseDataset):
        for index in range(len(dataset)):
            # as it was listed: some data sets render their images when they are asked themselves
            item = BaseDataset.get_data_info(dataset, index)
            paths += list(_files_of(item))
            name = str(item.get('sample_id', item.get('img_path', index)))
            labels = {key: item.get(key) for key in ('instances', 'label_map', 'reduce_zero_label') if key in item}
            samples[os.path.basename(name)] = digest(_plain(labels))[:SHORT]
        ann_file = getattr(dataset, 'ann_file', '')
        if ann_file and os.path.isfile(ann_file):
            paths.append(ann_file)
    return samples, paths


def _files_of(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        for value in item.values():
            yield from _files_of(value)
    elif isinstance(item, str) and os.sep in item and os.path.isfile(item):
        yield item


def _is_below(path: str, root: str) -> bool:
    return os.path.abspath(path).startswith(os.path.abspath(root) + os.sep)


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    if hasattr(node, 'tolist'):
        return node.tolist()
    return node if node is None or isinstance(node, (bool, int, float, str)) else str(node)
