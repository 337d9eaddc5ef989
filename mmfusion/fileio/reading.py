"""Reading files of users within bounds: regular files of a limited size, pictures of a limited number of pixels, JSON
that is plain data.

Errors are those of Python (``OSError`` for a file that cannot be read, ``ValueError`` for content), since each reader
has an error of its own to tell them by.
"""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Union

from mmfusion.utils.errors import UserError

PathLike = Union[str, Path]

#: Bytes that a file of labels, names or settings may have; what Python makes of it takes up to a hundred times as much.
MAX_TEXT_BYTES = 2**24
#: Pixels that a picture may have, unless the environment variable says otherwise: 16384 x 8192.
MAX_PIXELS = 2**27
PIXELS_VARIABLE = 'MMFUSION_MAX_PIXELS'
#: Bytes of a picture's file for each pixel that it may have: four channels of 16 bits, twice over for headers and
#: thumbnails.
_BYTES_PER_PIXEL = 16


def max_pixels() -> int:
    """Pixels that a picture may have: :data:`MAX_PIXELS`, or what the environment variable ``MMFUSION_MAX_PIXELS``
    says.

    Raises:
        UserError: The variable is no positive whole number.
    """
    text = os.environ.get(PIXELS_VARIABLE)
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text)):
        raise UserError(f'the environment variable {PIXELS_VARIABLE} must be a positive whole number, got {text!r}')
    return int(text)


def check_pixels(height: int, width: int) -> None:
    """Refuse a picture that would take too much memory, before it is decoded.

    Raises:
        ValueError: It has no pixels, or more than :func:`max_pixels`.
    """
    if height < 1 or width < 1:
        raise ValueError(f'its header declares {width}x{height} pixels')
    if height * width > max_pixels():
        raise ValueError(
            f'it has {width}x{height} pixels, more than the {max_pixels()} that are read; set the environment variable '
            f'{PIXELS_VARIABLE} to read larger pictures'
        )


def open_regular(path: PathLike, limit: int) -> BinaryIO:
    """Open a file for reading bytes.

    Args:
        path: The file. A named pipe would be waited for, a device may have no end: both are refused.
        limit: Bytes that it may have.

    Raises:
        OSError: It is absent, no regular file, too large, or cannot be read; ``strerror`` says why.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a name with a zero byte
        raise FileNotFoundError(errno.ENOENT, str(error), str(path)) from error
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, 'it is a folder', str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, 'it is no regular file', str(path))
    if status.st_size > limit:
        raise OSError(errno.EFBIG, f'it has {status.st_size} bytes, more than the {limit} that are read', str(path))
    return open(path, 'rb')


def read_bytes(path: PathLike, limit: int = MAX_TEXT_BYTES) -> bytes:
    """Read a file; raises as :func:`open_regular`."""
    with open_regular(path, limit) as file:
        data = file.read(limit + 1)
    if len(data) > limit:  # it grew meanwhile, or lies in a file system that does not know sizes
        raise OSError(errno.EFBIG, f'it has more than the {limit} bytes that are read', str(path))
    return data


def open_picture(path: PathLike) -> BinaryIO:
    """Open the file of a picture; raises as :func:`open_regular`."""
    return open_regular(path, _BYTES_PER_PIXEL * max_pixels())


def reason(error: Exception) -> str:
    """What an error of this module says, without the number and the file name that Python adds."""
    return getattr(error, 'strerror', None) or str(error)


def read_text(path: PathLike, limit: int = MAX_TEXT_BYTES) -> str:
    """Read a text file, UTF-8 with or without a byte order mark.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is no text in UTF-8.
    """
    try:
        return read_bytes(path, limit).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'it is no text in UTF-8 ({error.reason} at byte {error.start})') from None


def parse_json(text: Union[str, bytes]) -> Any:
    """Decode JSON.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None


def read_json(path: PathLike, limit: int = MAX_TEXT_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        OSError: See :func:`open_regular`.
        ValueError: It is no text in UTF-8, no JSON, or nested too deeply.
    """
    return parse_json(read_text(path, limit))


def sha256(path: PathLike) -> str:
    """Hash of a file of any size, as hexadecimal digits."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def read_record(path: PathLike, remedy: str) -> dict:
    """Read a JSON object that mmfusion itself wrote, such as a result.

    Args:
        path: The file.
        remedy: What to do if it is damaged, in a sentence without a period.

    Raises:
        UserError: It cannot be read, or holds something else.
    """
    try:
        record = read_json(path)
    except OSError as error:
        raise UserError(f'{path} cannot be read: {reason(error)}; {remedy}') from error
    except ValueError as error:
        raise UserError(f'{path} is damaged: {error}; {remedy}') from error
    if not isinstance(record, dict):
        raise UserError(f'{path} is damaged: it holds {type(record).__name__}, not an object; {remedy}')
    return record
