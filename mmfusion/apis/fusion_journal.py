"""What a run of scoring has done already, so that the next one goes on from there."""
import json
import os
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from mmfusion.utils import UserError
from mmfusion.version import __version__

Identity = Tuple[str, int, int]


def file_identity(path: str) -> Identity:
    """(absolute path, size, time of change in ns) of a file: when they are the same, so is the content, as ``make`` has it."""
    status = os.stat(path)
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


class Journal:
    """Scores on disk, one JSON line each; in memory is only where each line begins.

    A score counts as done for a protocol, three files as they are now, and the metrics that it holds. Anything else is a score of its own: other
    protocols, changed files and other versions of this package never mix.

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
        position, line = 0, b'\n'
        for line in self._file:
            row = _parse(line)
            if row is not None:
                self._offsets[_key(row['protocol'], row['files'], row['options'])] = position
            position += len(line)
        if not line.endswith(b'\n'):  # a run was killed while it wrote
            self._file.write(b'\n')
            self._file.flush()

    def add(self, protocol: str, files: Sequence[Identity], values: Dict[str, float], options: Sequence = (), **notes) -> None:
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
        row = dict(version=__version__, protocol=protocol, files=[list(file) for file in files], options=list(options), values=values, **notes)
        try:
            self._file.seek(0, os.SEEK_END)
            position = self._file.tell()
            self._file.write(json.dumps(row, separators=(',', ':')).encode() + b'\n')
            self._file.flush()
        except OSError as error:
            raise UserError(f'cannot write {self.path}: {error.strerror}; free space and run again to go on') from error
        self._offsets[_key(protocol, files, options)] = position

    def find(self, protocol: str, files: Iterable[Identity], metrics: Sequence[str], options: Sequence = ()) -> Optional[dict]:
        """The score of these files if it holds all metrics, else None."""
        files = [tuple(file) for file in files]
        position = self._offsets.get(_key(protocol, files, options))
        if position is None:
            return None
        self._file.seek(position)
        row = _parse(self._file.readline())
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
    """A row of this version, or None for a line that was cut off or is of another version."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    keys: List[str] = ['protocol', 'files', 'options', 'values']
    return row if isinstance(row, dict) and row.get('version') == __version__ and all(key in row for key in keys) else None
