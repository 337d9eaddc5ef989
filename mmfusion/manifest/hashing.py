"""Hashes of files, those of unchanged files from a cache."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Iterable, Optional

from mmfusion.fileio import write_json
from mmfusion.fileio.reading import read_json, sha256

#: Hexadecimal digits that are kept of each file of a set, which has thousands; the hash of the whole set is made from
#: all digits.
SHORT = 16
_MAX_CACHE = 256 * 2**20
_MAX_FILES = 200_000


def digest(content: Any) -> str:
    """sha256 of something that JSON can hold, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(',', ':')).encode()).hexdigest()


def cache_file() -> Path:
    """The cache of hashes: ``$MMFUSION_HASHES``, or a file below ``$XDG_CACHE_HOME`` (``~/.cache``). It may not
    exist.
    """
    if 'MMFUSION_HASHES' in os.environ:
        return Path(os.environ['MMFUSION_HASHES'])
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'mmfusion' / 'sha256.json'


def hash_files(paths: Iterable[str], trust_cache: bool = True) -> Dict[str, Optional[str]]:
    """sha256 of files, None for those that cannot be read.

    Args:
        paths: The files.
        trust_cache: Take the hash of a file whose size and time of change are those of an earlier call from the cache.
            Whoever checks a result reads every byte instead, since both can be forged.
    """
    cache = _read_cache() if trust_cache else {}
    found: Dict[str, Optional[str]] = {}
    fresh = False
    for path in paths:
        try:
            status = os.stat(path)
            key, mark = os.path.abspath(path), [status.st_size, status.st_mtime_ns]
            known = cache.get(key)
            if trust_cache and isinstance(known, list) and known[:2] == mark and len(known) == 3:
                found[path] = known[2]
                continue
            found[path] = sha256(path)
            cache[key], fresh = [*mark, found[path]], True
        except OSError:
            found[path] = None
    if trust_cache and fresh:
        with contextlib.suppress(OSError):  # without a cache the next call takes longer, nothing else
            write_json(cache_file(), dict(list(cache.items())[-_MAX_FILES:]), indent=None, sync=False)
    return found


def _read_cache() -> dict:
    try:
        cache = read_json(cache_file(), _MAX_CACHE)
    except (OSError, ValueError):
        return {}
    return cache if isinstance(cache, dict) else {}
