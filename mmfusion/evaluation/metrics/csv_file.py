"""Per-image results as files that are either whole or absent."""
import csv
import os
from contextlib import contextmanager
from typing import Iterable, Iterator, Optional, Sequence, TextIO


@contextmanager
def whole_file(path: str) -> Iterator[TextIO]:
    """Open a text file for writing, through a temporary file beside it that takes its place at the end.

    Args:
        path: File to write; its folder is made when missing.

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    path = os.path.abspath(path)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(temporary, 'w', newline='', encoding='utf-8') as file:
                yield file
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)
    except OSError as error:
        raise OSError(f'cannot write {path}: {error.strerror or error}; free space or choose another file') from error


def write_csv(path: str, rows: Iterable[dict], fields: Optional[Sequence[str]] = None) -> None:
    """Write rows to a csv file.

    Args:
        path: File to write; its folder is made when missing.
        rows: Dicts; taken one after the other, never held together.
        fields: The header; values that a row lacks are left empty. By default the keys of the first row, which all must have.

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
