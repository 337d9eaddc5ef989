"""A folder of decoded pictures, of limited size, that data workers and epochs share."""

import fcntl
import hashlib
import logging
import math
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Callable, Optional, Tuple, Union

import numpy as np
from mmengine.logging import print_log

from mmfusion.utils.errors import UserError

from .paths import ensure_writable_dir
from .reading import max_pixels, open_regular, reason
from .whole import whole_file

_GIB = 2**30
_COUNT = 'bytes.txt'
_HEADER = 128  # bytes of a npy file before its values
_MOST = 12  # bytes of a pixel: three channels of float32
_FULL = b' full'


class ImageCache:
    """Keep decoded pictures as uncompressed files, up to a number of bytes.

    A picture is found by the path of its file, how it was loaded, and the file's size and times: a file that has
    changed is decoded anew. What is given out is always an array of its own, so that transforms may change it. Once the
    limit is reached nothing more is added and nothing goes: epochs read every picture equally often, so that each one
    is as good as another.

    Every process that names the same folder shares it. What is read often stays in memory by the system's own page
    cache, which gives it up when memory is short. A folder in ``/dev/shm`` stays in memory and counts against it.

    Args:
        folder: Made when missing. To empty the cache, delete it.
        max_gib: Limit of all that lies in it, in GiB.

    Raises:
        ValueError: The limit is not positive.
        UserError: The folder cannot be written, holds more than the limit, or its file system has less space than what
            may still be added.
    """

    def __init__(self, folder: Union[str, Path], max_gib: float) -> None:
        if not isinstance(max_gib, (int, float)) or isinstance(max_gib, bool) or not 0 < max_gib < float('inf'):
            raise ValueError(f'the limit of a cache must be a positive number of GiB, got {max_gib!r}')
        self.folder, self.max_gib = os.path.abspath(folder), float(max_gib)
        self.max_bytes = int(max_gib * _GIB)
        self.full = False
        ensure_writable_dir(self.folder)
        try:
            held, free = self.held_bytes(), shutil.disk_usage(self.folder).free
        except OSError as error:
            raise UserError(
                f'the cache {self.folder} cannot be used: {reason(error)}; choose a folder on a local disk'
            ) from error
        if held > self.max_bytes:
            raise UserError(
                f'the cache {self.folder} holds {held / _GIB:.2f} GiB, more than max_gib={max_gib:g}; '
                f'raise the limit, or delete the folder'
            )
        if self.max_bytes - held > free:
            raise UserError(
                f'the cache {self.folder} may grow by {(self.max_bytes - held) / _GIB:.2f} GiB, and its file '
                f'system has {free / _GIB:.2f} GiB left; lower max_gib, or choose another folder'
            )

    def held_bytes(self) -> int:
        """Bytes of all pictures that were added."""
        with self._counted() as file:
            return self._count(file)[0]

    def load(self, path: str, how: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """The picture of a file, from the cache or decoded and added to it.

        Args:
            path: The image file.
            how: All that the result depends on besides the file.
            decode: Makes the picture: an array of up to three dimensions, uint8 or float32.

        Raises:
            Exception: What ``decode`` raises; nothing is added then.
        """
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return decode()  # which says what is wrong
        key = repr((os.path.abspath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, how))
        name = hashlib.sha256(key.encode()).hexdigest()
        file = os.path.join(self.folder, name[:2], f'{name[2:40]}.npy')
        found = self._read(file)
        if found is not None:
            return found
        image = decode()
        if not self.full:
            self._add(file, image)
        return image

    def _read(self, file: str) -> Optional[np.ndarray]:
        """The array of a npy file; None where there is none, or where it is damaged."""
        try:
            with open_regular(file, _MOST * max_pixels() + _HEADER) as stream:
                if np.lib.format.read_magic(stream) != (1, 0):
                    raise ValueError('it is of another version')
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
                size = math.prod(shape) * dtype.itemsize
                if (
                    fortran
                    or len(shape) != 3
                    or dtype not in (np.uint8, np.float32)
                    or size != os.fstat(stream.fileno()).st_size - stream.tell()
                ):
                    raise ValueError('its header does not fit its size')
                return np.fromfile(stream, dtype, math.prod(shape)).reshape(shape)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            print_log(f'cache: {file} is damaged ({reason(error)}) and is made anew', 'current', logging.WARNING)
            return None

    def _add(self, file: str, image: np.ndarray) -> None:
        try:
            if not self._reserve(image.nbytes + _HEADER):
                self.full = True
                return
            with whole_file(file, binary=True, sync=False) as stream:
                np.save(stream, np.ascontiguousarray(image), allow_pickle=False)
        except OSError as error:  # a full disk must not end a training, which needs no cache
            self.full = True
            print_log(f'cache: nothing more is added to {self.folder}: {error}', 'current', logging.WARNING)

    def _reserve(self, size: int) -> bool:
        """Count ``size`` bytes more if they fit. Counted before they are written, so that processes together stay below
        the limit.
        """
        with self._counted() as file:
            count, told = self._count(file)
            fits = count + size <= self.max_bytes
            if not fits and not told:  # once for all processes
                print_log(
                    f'cache: {self.folder} is full (max_gib={self.max_gib:g}); '
                    f'the other pictures are decoded each time',
                    'current',
                    logging.WARNING,
                )
            file.seek(0)
            file.write(b'%020d%-5s' % (count + size * fits, b'' if fits else _FULL))
        return fits

    def _counted(self) -> BinaryIO:
        """The file of the count, locked until it is closed."""
        os.makedirs(self.folder, exist_ok=True)
        file = os.fdopen(os.open(os.path.join(self.folder, _COUNT), os.O_RDWR | os.O_CREAT, 0o666), 'r+b')
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            raise
        return file

    def _count(self, file: BinaryIO) -> Tuple[int, bool]:
        """Bytes that were added, and whether a process has said that no more fit."""
        text = file.read(32)
        if text[:20].isdigit():
            return int(text[:20]), text[20:] == _FULL
        return sum(
            entry.stat().st_size for entry in Path(self.folder).rglob('*.npy')
        ), False  # a new folder, or its count was lost

    def __repr__(self) -> str:
        return f'{type(self).__name__}(folder={self.folder!r}, max_gib={self.max_gib:g})'


def build_cache(options: Optional[dict]) -> Optional[ImageCache]:
    """Cache of a config such as ``dict(folder='work_dirs/cache', max_gib=20)``; None without one.

    Raises:
        ValueError: There are other keys, or the limit is not positive.
        UserError: See :class:`ImageCache`.
    """
    if options is None:
        return None
    known = {'folder', 'max_gib'}
    if not isinstance(options, dict) or set(options) != known:
        raise ValueError(f"cache must be None or dict(folder='...', max_gib=20), got {options!r}")
    return ImageCache(**options)
