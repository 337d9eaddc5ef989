"""Reading one image file completely, or saying why not.

``cv2.imread`` returns a partly grey image for a truncated jpg and prints a warning at most, and what it does with other damage depends on its
version. The files are therefore checked by their own structure before decoding. That takes 3 to 30 microseconds, less than 0.2 % of the
decoding; a second decode by another library would double the loading time.
"""
import io
import struct
import warnings
from pathlib import Path
from typing import Tuple

import cv2
import numpy as np
from PIL import Image

from .errors import PairDataError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')
_PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
_TIFF_OFFSETS = ((273, 279), (324, 325))  # (StripOffsets, StripByteCounts), (TileOffsets, TileByteCounts)


def _png_is_complete(data: bytes) -> bool:
    """Walk the chunks up to IEND."""
    position = len(_PNG_MAGIC)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, position)
        position += 12 + length
        if kind == b'IEND':
            return position <= len(data)
    return False


def _jpeg_is_complete(data: bytes) -> bool:
    """Walk the header segments to the first scan; an end-of-image marker must follow it.

    Thumbnails inside header segments have end markers of their own, hence the walk. Inside a scan the bytes FF D9 are the end marker only.
    """
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return False
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = struct.unpack_from('>H', data, position + 2)[0]
        position += 2 + length
        if marker == 0xDA:
            return data.rfind(b'\xff\xd9', position) >= 0
    return False


def _tiff_is_complete(data: bytes) -> bool:
    """Every strip or tile of the first page must lie inside the file."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about odd tags that do not concern the pixels
        with Image.open(io.BytesIO(data)) as image:
            tags = image.tag_v2
            for offsets, counts in _TIFF_OFFSETS:
                if offsets in tags and counts in tags and np.max(np.add(tags[offsets], tags[counts])) > len(data):
                    return False
    return True


def _is_complete(data: bytes) -> bool:
    if data.startswith(_PNG_MAGIC):
        return _png_is_complete(data)
    if data.startswith(b'\xff\xd8'):
        return _jpeg_is_complete(data)
    if data.startswith((b'II*\0', b'MM\0*')):
        return _tiff_is_complete(data)
    if data.startswith(b'BM') and len(data) >= 6:
        declared = struct.unpack_from('<I', data, 2)[0]
        return declared <= len(data)
    return True


def _read_complete(path: str) -> bytes:
    """The bytes of an image file that is whole by its own structure.

    Raises:
        PairDataError: The file is absent, empty, damaged or truncated.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise PairDataError('missing image', f'image file {path} does not exist') from None
    except OSError as error:
        raise PairDataError('unreadable image', f'image file {path} cannot be read: {error.strerror}') from error
    if not data:
        raise PairDataError('unreadable image', f'image file {path} is empty; copy or download it again')
    try:
        complete = _is_complete(data)
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, struct.error) as error:
        raise PairDataError('unreadable image', f'image file {path} is damaged ({error}); copy or download it again') from error
    if not complete:
        raise PairDataError('truncated image', f'image file {path} is truncated; copy or download it again')
    return data


def _decode(path: str) -> np.ndarray:
    """Decode an image file as it is: (H, W) or (H, W, channels)."""
    data = _read_complete(path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PairDataError('unreadable image', f'image file {path} cannot be decoded: {error.err}') from error
    if image is None:
        raise PairDataError('unreadable image', f'{path} is no image that OpenCV can decode (png, jpg, bmp and tif are supported)')
    return image


def read_image(path: str) -> np.ndarray:
    """Read an image with the channels and the depth that the file has.

    The orientation tag of EXIF is ignored: boxes and the partner image refer to the stored pixels.

    Args:
        path: A png, jpg, bmp or tif file, 8 or 16 bit or float, grey or color, with or without alpha.

    Returns:
        (H, W, 1) or (H, W, 3) BGR, of the file's own data type. Alpha is dropped.

    Raises:
        PairDataError: The file is absent, empty, truncated or no image that OpenCV can decode.

    Examples:
        >>> import cv2, numpy as np, tempfile, os
        >>> name = os.path.join(tempfile.mkdtemp(), 'a.png')
        >>> _ = cv2.imwrite(name, np.zeros((20, 30), np.uint16))
        >>> read_image(name).shape, read_image(name).dtype
        ((20, 30, 1), dtype('uint16'))
    """
    image = _decode(path)
    if image.ndim == 2:
        return image[..., None]
    channels = image.shape[2]
    if channels == 2:  # grey with alpha
        return image[..., :1]
    return image[..., :3] if channels > 3 else image


def read_alpha(path: str) -> np.ndarray:
    """Read the fourth channel of a color image, where MFNet keeps the thermal image: (H, W, 1) of the file's own data type.

    Raises:
        PairDataError: See :func:`read_image`; or the file has no fourth channel.
    """
    image = _decode(path)
    if image.ndim != 3 or image.shape[2] != 4:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise PairDataError('wrong channels', f'image file {path} has {channels} channels; RGB with the thermal image as fourth channel is expected')
    return image[..., 3:]


def read_class_map(path: str) -> np.ndarray:
    """Read class numbers: the values of a grey png, or the indices of one with a palette; (H, W) integer.

    Raises:
        PairDataError: See :func:`read_image`; or the file holds colors, not numbers.

    Examples:
        >>> import tempfile, os
        >>> name = os.path.join(tempfile.mkdtemp(), 'a.png')
        >>> Image.fromarray(np.array([[0, 3]], np.uint8)).save(name)
        >>> read_class_map(name).tolist()
        [[0, 3]]
    """
    data = _read_complete(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            numbers = np.array(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise PairDataError('unreadable class map', f'class map {path} cannot be decoded ({error}); copy it again') from error
    if numbers.ndim == 3 and numbers.shape[2] in (3, 4) and (numbers[..., :3] == numbers[..., :1]).all():
        numbers = numbers[..., 0]  # grey stored as three equal channels
    if numbers.ndim != 2 or not np.issubdtype(numbers.dtype, np.integer):
        raise PairDataError('wrong class map', f'class map {path} is a color picture; a png of one channel with class numbers is expected')
    return numbers


def read_size(path: str) -> Tuple[int, int]:
    """Read (height, width) from the header of an image file without decoding it.

    Raises:
        PairDataError: The file is absent or its header is none of an image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise PairDataError('missing image', f'image file {path} does not exist') from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PairDataError('unreadable image', f'{path} has no readable image header ({error}); copy or download it again') from error
