"""Checks on paths, made before work starts."""

import os
import tempfile
from pathlib import Path
from typing import Union

from mmfusion.utils.errors import UserError


def ensure_writable_dir(path: Union[str, Path]) -> Path:
    """Create the folder if needed and prove that a file can be written into it.

    Raises:
        UserError: It cannot be created, is a file, or is not writable.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = 'it is a file' if path.is_file() else os.strerror(error.errno) if error.errno else str(error)
        raise UserError(
            f'cannot write into the folder {str(path)!r}: {reason}. Choose another one (--work-dir, --show-dir, --out)'
        ) from error
    return path
