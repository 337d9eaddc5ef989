"""mmengine's file backend for local paths, with files that are whole or absent."""

from pathlib import Path
from typing import Union

from mmengine.fileio import LocalBackend, register_backend

from .whole import write_bytes, write_text


@register_backend('local', force=True, prefixes='')
class WholeLocalBackend(LocalBackend):
    """Takes the place of mmengine's ``LocalBackend``: whatever is written through it (checkpoints, dumped results) is
    whole or absent.

    It is registered under mmengine's own name, so it serves every hook and every config, also those that are not ours.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes; see :func:`mmfusion.fileio.whole_file`."""
        write_bytes(filepath, obj)

    def put_text(self, obj: str, filepath: Union[str, Path], encoding: str = 'utf-8') -> None:
        """Write text; see :func:`mmfusion.fileio.whole_file`."""
        write_bytes(filepath, obj.encode(encoding)) if encoding != 'utf-8' else write_text(filepath, obj)
