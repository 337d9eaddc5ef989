"""Writing a file so that it is whole or absent, whatever happens to the process or the disk meanwhile."""

import contextlib
import csv
import io
import json
import os
import re
import socket
from pathlib import Path
from typing import IO, Any, Iterable, Iterator, List, Optional, Sequence, Set, Union

from mmfusion.utils.errors import WriteError

PathLike = Union[str, Path]
REMEDY = 'free space or choose another file'
_HOST = re.sub(r'[^\w-]', '_', socket.gethostname())[:40]
_cleaned: Set[str] = set()  # folders that this process has looked through for what killed processes left


@contextlib.contextmanager
def whole_file(path: PathLike, binary: bool = False, sync: bool = True, remedy: str = REMEDY) -> Iterator[IO]:
    """Open a file for writing, through a temporary one beside it that takes its place at the end.

    Readers see the former content or the new one, never a part. When the block raises, the former file stays and the
    temporary one goes; what a process that was killed left behind is removed by the next one that writes into the same
    folder.

    Args:
        path: File to write; its folder is made when missing. A symbolic link stays one, and what it points to is
            written.
        binary: Open for bytes, otherwise for text in UTF-8 without translation of line ends.
        sync: Wait until the disk has it, so that a power failure leaves the former file or the new one. For many small
            files that could be made again, False saves time.
        remedy: What the user can do when the file cannot be written.

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        temporary = temporary_path(path)
        try:
            with open(temporary, 'wb') if binary else open(temporary, 'w', newline='', encoding='utf-8') as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
        if sync:
            _sync_folder(folder)
    except OSError as error:
        raise WriteError(f'cannot write {path}: {error.strerror or error}; {remedy}') from error


def temporary_path(path: PathLike, suffix: str = '') -> str:
    """Name beside a file under which it is written, for programs that write it themselves; its folder is made when
    missing.

    What killed processes left in that folder is removed.

    Args:
        path: The file; a symbolic link counts as what it points to.
        suffix: Ending of the temporary name, where a program chooses the format by it.

    Raises:
        OSError: The folder cannot be made.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    if folder not in _cleaned:
        _cleaned.add(folder)
        for left in partial_files(folder):
            with contextlib.suppress(FileNotFoundError):
                os.remove(left)
    return f'{target}.{_HOST}-{os.getpid()}.tmp{suffix}'


def partial_files(folder: PathLike) -> List[str]:
    """Temporary files that processes of this machine, killed since, left in a folder."""
    pattern = re.compile(rf'.+\.{re.escape(_HOST)}-(\d+)\.tmp(\.\w+)?')
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = ((entry.path, pattern.fullmatch(entry.name)) for entry in os.scandir(folder))
        return [path for path, match in found if match and not _is_running(int(match.group(1)))]
    return []


def write_text(path: PathLike, text: str, **options: Any) -> None:
    """Write a text file; ``options`` are those of :func:`whole_file`."""
    with whole_file(path, **options) as file:
        file.write(text)


def write_bytes(path: PathLike, data: Union[bytes, memoryview], **options: Any) -> None:
    """Write bytes; ``options`` are those of :func:`whole_file`."""
    with whole_file(path, binary=True, **options) as file:
        file.write(data)


def write_json(path: PathLike, content: Any, indent: int = 2, **options: Any) -> None:
    """Write a JSON file that ends in a newline; ``options`` are those of :func:`whole_file`.

    Raises:
        TypeError: JSON cannot hold the content; nothing was written.
        OSError: The file cannot be written; the message names it.
    """
    write_text(path, json.dumps(content, indent=indent) + '\n', **options)


def save_torch(path: PathLike, content: Any, **options: Any) -> None:
    """``torch.save`` into a file; ``options`` are those of :func:`whole_file`."""
    import torch

    data = io.BytesIO()  # torch turns an error of the file that it writes to into one of its own
    torch.save(content, data)
    write_bytes(path, data.getbuffer(), **options)


def write_csv(path: PathLike, rows: Iterable[dict], fields: Optional[Sequence[str]] = None) -> None:
    """Write rows to a csv file.

    Args:
        path: File to write; its folder is made when missing.
        rows: Dicts; taken one after the other, never held together.
        fields: The header; values that a row lacks are left empty. By default the keys of the first row, which all must
            have.

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    with whole_file(path) as file:
        writer = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, list(fields or row))
                writer.writeheader()
            writer.writerow(row)
        if writer is None and fields:
            csv.DictWriter(file, list(fields)).writeheader()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, under another user
        return True
    return True


def _sync_folder(folder: str) -> None:
    """Let the disk have the new name too; not every system can open a folder, nor every file system sync one."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
