"""Pictures that a browser sent: checked before they are decoded, kept in a private folder, removed in time."""

import os
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Dict, List

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_image, read_size
from mmfusion.utils.errors import InputError

from .errors import NotHere

#: First bytes of the formats that are taken, with the ending that a file gets here.
MAGIC = {
    b'\x89PNG\r\n\x1a\n': '.png',
    b'\xff\xd8\xff': '.jpg',
    b'BM': '.bmp',
    b'II*\x00': '.tif',
    b'MM\x00*': '.tif',
}
LONGEST_NAME = 120


@dataclass
class Upload:
    """A picture that was sent.

    Attributes:
        name: Name that the visitor's file has; it is shown, and never part of a path.
        path: File in the private folder.
        height: In pixels.
        width: In pixels.
        channels: 1 or 3.
        bits: Bits of a value.
        used: Time at which it was last asked for.
        held: Number of jobs that still need it.
    """

    name: str
    path: str
    height: int
    width: int
    channels: int
    bits: int
    used: float = field(default_factory=time.monotonic)
    held: int = 0


class Uploads:
    """All pictures that were sent.

    Args:
        max_pixels: Largest picture.
        max_files: Pictures that are kept at once.

    Attributes:
        folder: Private folder that holds them; :meth:`close` removes it.
    """

    def __init__(self, max_pixels: int, max_files: int) -> None:
        self.max_pixels, self.max_files = max_pixels, max_files
        self.folder = tempfile.mkdtemp(prefix='mmfusion-serve-')  # readable by this user alone
        self._uploads: Dict[str, Upload] = {}
        self._lock = threading.Lock()

    def add(self, name: str, content: bytes) -> str:
        """Keep a picture.

        Args:
            name: Name of the visitor's file.
            content: Its bytes.

        Returns:
            A name for it that cannot be guessed.

        Raises:
            InputError: It is no png, jpg, bmp or tif, is damaged or truncated, has too many pixels, or there are too
                many pictures.
        """
        name = printable(name)
        suffix = next((suffix for magic, suffix in MAGIC.items() if content.startswith(magic)), None)
        if suffix is None:
            raise InputError(f'{name} is no png, jpg, bmp or tif image')
        with self._lock:
            if len(self._uploads) >= self.max_files:
                raise InputError(f'{self.max_files} images are here already; remove some, or start with --max-files')
        key = secrets.token_urlsafe(16)
        path = os.path.join(self.folder, f'{key}{suffix}')
        try:
            with open(path, 'xb') as file:
                file.write(content)
            height, width = read_size(path)  # from the header, before anything is decoded
            if height * width > self.max_pixels:
                raise InputError(
                    f'{name} has {width}x{height} pixels, more than the {self.max_pixels:,} that this page takes; '
                    'shrink it, or start with --max-pixels'
                )
            image = read_image(path)
        except PairDataError as error:
            _remove(path)
            raise InputError(str(error).replace(f'image file {path}', name).replace(path, name)) from None
        except BaseException:
            _remove(path)
            raise
        upload = Upload(name, path, height, width, image.shape[2], image.dtype.itemsize * 8)
        with self._lock:
            self._uploads[key] = upload
        return key

    def __getitem__(self, key: str) -> Upload:
        """The picture of a name.

        Raises:
            NotHere: There is none, or no more.
        """
        with self._lock:
            upload = self._find(key)
            upload.used = time.monotonic()
            return upload

    def __len__(self) -> int:
        return len(self._uploads)

    def hold(self, keys: List[str]) -> List[Upload]:
        """Take pictures for a job, so that they are not removed while it runs; :meth:`release` ends that.

        Raises:
            NotHere: One is not there.
        """
        with self._lock:
            uploads = [self._find(key) for key in keys]
            for upload in uploads:
                upload.held += 1
            return uploads

    def release(self, uploads: List[Upload]) -> None:
        """End what :meth:`hold` began."""
        with self._lock:
            for upload in uploads:
                upload.held -= 1
                upload.used = time.monotonic()

    def remove(self, key: str) -> None:
        """Forget a picture; one that a job needs stays until the job has ended.

        Raises:
            NotHere: There is none.
        """
        with self._lock:
            upload = self._find(key)
            if upload.held:
                upload.used = -float('inf')
                return
            del self._uploads[key]
        _remove(upload.path)

    def remove_older(self, seconds: float) -> None:
        """Forget pictures that nobody asked for in so many seconds."""
        limit = time.monotonic() - seconds
        with self._lock:
            old = [key for key, upload in self._uploads.items() if upload.used <= limit and not upload.held]
            paths = [self._uploads.pop(key).path for key in old]
        for path in paths:
            _remove(path)

    def _find(self, key: str) -> Upload:
        if key not in self._uploads:
            raise NotHere(key)
        return self._uploads[key]

    def close(self) -> None:
        """Remove everything."""
        with self._lock:
            self._uploads.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def printable(name: str) -> str:
    """A visitor's file name in one short line, without folders.

    Examples:
        >>> printable('../../etc/a\\x00b.png'), printable('C:\\\\pictures\\\\x.png'), printable('')
        ('a?b.png', 'x.png', 'image')
    """
    last = name.replace('\\', '/').rsplit('/', 1)[-1].strip()
    return ''.join(char if char.isprintable() else '?' for char in last)[-LONGEST_NAME:] or 'image'


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)
