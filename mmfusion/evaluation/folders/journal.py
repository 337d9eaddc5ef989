"""Journal of a scoring run, from which the next run goes on."""

import json
import os
from pathlib import Path
from typing import Dict, Iterable, Optional, Sequence, Tuple

from mmfusion.fileio.reading import parse_json
from mmfusion.utils import UserError
from mmfusion.version import __version__

Identity = Tuple[str, int, int]
_MAX_LINE = 2**20  # bytes; a line of all metrics of a protocol has a few thousand


def file_identity(path: str) -> Identity:
    """(absolute path, size, time of change in ns) of a file: when they are the same, so is the content, as ``make`` has
    it.
    """
    status = os.stat(path)
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


class Journal:
    """Scores on disk, one JSON line each; in memory is only where each line begins.

    A score counts as done for a protocol, three files as they are now, and the metrics that it holds. Anything else is
    a score of its own: other protocols, changed files and other versions of this package never mix.

    Args:
        path: The file; it is made when missing.
        resume: Use the scores that are there; otherwise the file starts anew.

    Raises:
        UserError: The file cannot be opened.

    Examples:
        >>> import tempfile
        >>> name = os.path.join(tempfile.mkdtemp(), 'journal.jsonl')
        >>> with Journal(name) as journal:
        ...     journal.add('default', [('a.png', 1, 2)], {'EN': 7.0})
        >>> with Journal(name) as journal:
        ...     journal.find('default', [('a.png', 1, 2)], ['EN'])['values'], journal.find('default', [('a.png', 1, 3)], ['EN'])
        ({'EN': 7.0}, None)
    """

    def __init__(self, path: str, resume: bool = True) -> None:
        self.path = Path(path)
        try:
            self._file = open(path, 'a+b' if resume else 'w+b')  # noqa: SIM115 - closed in close()
        except OSError as error:
            raise UserError(f'cannot write {path}: {error.strerror}; choose another --out') from error
        self._offsets: Dict[tuple, int] = {}
        self._index()

    def _index(self) -> None:
        self._file.seek(0)
        position, last = 0, b'\n'
        while line := self._file.readline(_MAX_LINE):
            row = _parse(line)
            if row is not None:
                self._offsets[_key(row['protocol'], row['files'], row['options'])] = position
            position, last = position + len(line), line
        if not last.endswith(b'\n'):  # a run was killed while it wrote
            self._file.write(b'\n')
            self._file.flush()

    def add(
        self, protocol: str, files: Sequence[Identity], values: Dict[str, float], options: Sequence = (), **notes
    ) -> None:
        """Write a score.

        Args:
            protocol: Name of the protocol.
            files: Identities of fused image and sources.
            values: The values.
            options: What else the values depend on.
            notes: What else to remember.

        Raises:
            UserError: The disk is full.
        """
        known = self.find(protocol, files, (), options)
        values = {**(known['values'] if known else {}), **values}  # metrics of an earlier run stay
        row = dict(
            version=__version__,
            protocol=protocol,
            files=[list(file) for file in files],
            options=list(options),
            values=values,
            **notes,
        )
        try:
            self._file.seek(0, os.SEEK_END)
            position = self._file.tell()
            self._file.write(json.dumps(row, separators=(',', ':')).encode() + b'\n')
            self._file.flush()
        except OSError as error:
            raise UserError(f'cannot write {self.path}: {error.strerror}; free space and run again to go on') from error
        self._offsets[_key(protocol, files, options)] = position

    def find(
        self, protocol: str, files: Iterable[Identity], metrics: Sequence[str], options: Sequence = ()
    ) -> Optional[dict]:
        """The score of these files if it holds all metrics, else None."""
        files = [tuple(file) for file in files]
        position = self._offsets.get(_key(protocol, files, options))
        if position is None:
            return None
        self._file.seek(position)
        row = _parse(self._file.readline(_MAX_LINE))
        same = row is not None and [tuple(file) for file in row['files']] == files
        return row if same and all(name in row['values'] for name in metrics) else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> 'Journal':
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _key(protocol: str, files: Sequence, options: Sequence) -> tuple:
    return (protocol, tuple(options), *(file[0] for file in files))


def _parse(line: bytes) -> Optional[dict]:
    """A row of this version, or None for a line that was cut off, was changed by hand or is of another version: what it
    scored is scored anew.
    """
    try:
        row = parse_json(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or row.get('version') != __version__ or not isinstance(row.get('protocol'), str):
        return None
    files, options, values = (row.get(key) for key in ('files', 'options', 'values'))
    fits = (
        isinstance(files, list)
        and len(files)
        and all(_is_identity(file) for file in files)
        and isinstance(options, list)
        and all(option is None or isinstance(option, (str, int, float)) for option in options)
        and isinstance(values, dict)
        and all(map(_is_number, values.values()))
    )
    return row if fits else None


def _is_number(value: object) -> bool:
    return isinstance(value, float) or isinstance(value, int) and abs(value) < 2**63


def _is_identity(file: object) -> bool:
    return isinstance(file, list) and len(file) == 3 and isinstance(file[0], str) and all(map(_is_number, file[1:]))
