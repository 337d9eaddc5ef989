"""Per-image results as a csv file that is either whole or absent."""
import csv
import os
from typing import List


def write_csv(path: str, rows: List[dict]) -> None:
    """Write rows to a csv file, through a temporary file beside it.

    Args:
        path: File to write; its folder is made when missing.
        rows: Dicts with the same keys, which become the header.

    Raises:
        OSError: The file cannot be written; the message names it.
    """
    path = os.path.abspath(path)
    temporary = f'{path}.{os.getpid()}.tmp'
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, 'w', newline='') as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, path)
    except OSError as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise OSError(f'cannot write {path}: {error.strerror or error}; free space or choose another file') from error
