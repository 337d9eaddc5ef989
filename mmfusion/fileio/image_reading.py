"""Reading of an image file, complete or with the reason why not.

``cv2.imread`` returns a partly gray image for a truncated jpg and prints a warning at most, and what it does with other
damage depends on its version. The files are therefore checked by their own structure before decoding
(:mod:`mmfusion.fileio.image_header`): whether they are whole, and whether the decoded picture would be larger than
:func:`mmfusion.fileio.reading.max_pixels` allows, since a file of a kilobyte may declare gigabytes. That takes 3 to 30
microseconds, less than 0.2 % of the decoding; a second decode by another library would double the loading time.
"""

import io
import struct
import warnings
from contextlib import contextmanager
from typing import BinaryIO, Callable, Dict, Iterator, Optional, Sequence, Tuple

import cv2
import numpy as np
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin
from PIL.ImageFile import ImageFile

from mmfusion.fileio.image_header import Header, Truncated, Unsupported, count_scans, read_header, tile_size
from mmfusion.fileio.reading import check_pixels, max_pixels, open_picture, reason

from .errors import PairDataError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')
#: Opened by name, never by PIL's own guess: that would try formats such as PostScript, which another program decodes.
_PLUGINS: Dict[str, Callable[[BinaryIO], ImageFile]] = dict(
    png=PngImagePlugin.PngImageFile,
    jpg=JpegImagePlugin.JpegImageFile,
    bmp=BmpImagePlugin.BmpImageFile,
    tif=TiffImagePlugin.TiffImageFile,
)
_REDUCED = {2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: cv2.IMREAD_REDUCED_GRAYSCALE_8}
REDUCTIONS = tuple(_REDUCED)
_SCANS = 16  # of a progressive jpg of the largest size; encoders write about ten
# what PIL was seen to raise on damaged files
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    struct.error,
    RuntimeError,
    MemoryError,
)


@contextmanager
def _opened(path: str, whole: bool) -> Iterator[Tuple[BinaryIO, Header]]:
    """Open an image file and look at its structure.

    Raises:
        PairDataError: The file is absent, empty, damaged, truncated, of another kind or too large.
    """
    try:
        with open_picture(path) as file:
            if not file.read(1):
                raise PairDataError('unreadable image', f'image file {path} is empty; copy or download it again')
            header = read_header(file, whole)
            check_pixels(header.height, header.width)
            if header.kind == 'tif':
                check_pixels(*tile_size(file))
            file.seek(0)
            yield file, header
    except FileNotFoundError:
        raise PairDataError('missing image', f'image file {path} does not exist') from None
    except Truncated as error:
        raise PairDataError('truncated image', f'image file {path} is truncated; copy or download it again') from error
    except Unsupported as error:
        raise PairDataError(
            'unreadable image',
            f'{path} has no readable image header ({error}; png, jpg, bmp and tif are supported); '
            'copy or download it again, or convert it',
        ) from None
    except PairDataError:
        raise
    except ValueError as error:
        raise PairDataError('unreadable image', f'image file {path} cannot be used: {error}') from None
    except OSError as error:
        raise PairDataError('unreadable image', f'image file {path} cannot be read: {reason(error)}') from error


def read_complete(path: str) -> Tuple[bytes, Header]:
    """The bytes of an image file that is whole by its own structure, and its header.

    Raises:
        PairDataError: See :func:`read_image`.
    """
    with _opened(path, whole=True) as (file, header):
        data = file.read()
    scans = count_scans(data) if header.kind == 'jpg' else 1
    if scans > _SCANS and scans * header.height * header.width > _SCANS * max_pixels():
        raise PairDataError(
            'unreadable image',
            f'image file {path} cannot be used: its {scans} scans of {header.width}x{header.height} pixels would '
            'take minutes to decode',
        )
    return data, header


def _decode(path: str, reduction: int = 1) -> np.ndarray:
    """Decode an image file as it is, or a jpg at a part of its size: (H, W) or (H, W, channels)."""
    data, header = read_complete(path)
    flags = cv2.IMREAD_UNCHANGED
    if reduction > 1:
        if header.kind != 'jpg':
            raise ValueError(f'{path} is a {header.kind} file; only jpg files are decoded at a reduced size')
        # IMREAD_UNCHANGED by its parts; it stands for all bits and cannot be combined
        flags = _REDUCED[reduction] | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PairDataError(
            'unreadable image', f'image file {path} cannot be decoded: {error.err}; copy or download it again'
        ) from error
    if image is None:
        raise PairDataError('unreadable image', f'{path} is no image that OpenCV can decode; copy or download it again')
    return image


def read_image(path: str, reduction: int = 1) -> np.ndarray:
    """Read an image with the channels and the depth that the file has.

    The orientation tag of EXIF is ignored: boxes and the partner image refer to the stored pixels.

    Args:
        path: A png, jpg, bmp or tif file, 8 or 16 bit or float, gray or color, with or without alpha.
        reduction: 2, 4 or 8 decodes a jpg at that part of its height and width (rounded up), by leaving out high
            frequencies: quicker than decoding and shrinking, and with slightly other values.

    Returns:
        (H, W, 1) or (H, W, 3) BGR, of the file's own data type. Alpha is dropped.

    Raises:
        ValueError: A reduced size is asked of a file that is no jpg.
        PairDataError: The file is absent, empty, damaged, truncated, of another kind, or has more pixels than are read
            (2**27, or what the environment variable ``MMFUSION_MAX_PIXELS`` says).

    Examples:
        >>> import cv2, numpy as np, tempfile, os
        >>> name = os.path.join(tempfile.mkdtemp(), 'a.png')
        >>> _ = cv2.imwrite(name, np.zeros((20, 30), np.uint16))
        >>> read_image(name).shape, read_image(name).dtype
        ((20, 30, 1), dtype('uint16'))
    """
    image = _decode(path, reduction)
    if image.ndim == 2:
        return image[..., None]
    channels = image.shape[2]
    if channels == 2:  # gray with alpha
        return image[..., :1]
    return image[..., :3] if channels > 3 else image


def read_alpha(path: str) -> np.ndarray:
    """Read the fourth channel of a color image, where MFNet keeps the thermal image: (H, W, 1) of the file's own data
    type.

    Raises:
        PairDataError: See :func:`read_image`; or the file has no fourth channel.
    """
    image = _decode(path)
    if image.ndim != 3 or image.shape[2] != 4:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise PairDataError(
            'wrong channels',
            f'image file {path} has {channels} channels; RGB with the thermal image as fourth channel is expected',
        )
    return image[..., 3:]


def read_class_map(path: str) -> np.ndarray:
    """Read class numbers: the values of a gray png, or the indices of one with a palette; (H, W) integer.

    Raises:
        PairDataError: See :func:`read_image`; or the file holds colors, not numbers.

    Examples:
        >>> import cv2, tempfile, os
        >>> name = os.path.join(tempfile.mkdtemp(), 'a.png')
        >>> _ = cv2.imwrite(name, np.array([[0, 3]], np.uint8))
        >>> read_class_map(name).tolist()
        [[0, 3]]
    """
    data, header = read_complete(path)
    try:
        with warnings.catch_warnings(), _PLUGINS[header.kind](io.BytesIO(data)) as image:
            warnings.simplefilter('ignore')  # about odd tags that do not concern the pixels
            numbers = np.array(image)
    except _BROKEN as error:
        raise PairDataError(
            'unreadable class map', f'class map {path} cannot be decoded ({error}); copy it again'
        ) from error
    if numbers.ndim == 3 and numbers.shape[2] in (3, 4) and (numbers[..., :3] == numbers[..., :1]).all():
        numbers = numbers[..., 0]  # gray stored as three equal channels
    if numbers.ndim != 2 or not np.issubdtype(numbers.dtype, np.integer):
        raise PairDataError(
            'wrong class map',
            f'class map {path} is a color picture; a png of one channel with class numbers is expected',
        )
    return numbers


def read_size(path: str) -> Tuple[int, int]:
    """Read (height, width) from the header of an image file without decoding it.

    Raises:
        PairDataError: The file is absent, its header is none of an image, or it has more pixels than are read.
    """
    with _opened(path, whole=False) as (_, header):
        return header.height, header.width


def reduction_for(paths: Sequence[str], smallest: Tuple[int, int]) -> Tuple[int, Tuple[int, int]]:
    """How far the files of a pair can be decoded at a reduced size.

    Args:
        paths: The files.
        smallest: (height, width) that must be left.

    Returns:
        1, 2, 4 or 8, and the full (height, width) of the first file. It is 1 unless all are jpg files of one size of at
        least twice ``smallest``.

    Raises:
        PairDataError: A file is absent, its header is none of an image, or it has more pixels than are read.
    """
    headers = []
    for path in paths:
        with _opened(path, whole=False) as (_, header):
            headers.append(header)
    size = headers[0].height, headers[0].width
    if any(header.kind != 'jpg' or (header.height, header.width) != size for header in headers):
        return 1, size
    fit = [factor for factor in REDUCTIONS if all(length >= factor * least for length, least in zip(size, smallest))]
    return max(fit, default=1), size


def to_working_range(
    image: np.ndarray, name: str, bit_depth: Optional[int] = None, stretch: Optional[Sequence[float]] = None
) -> np.ndarray:
    """Bring an image to uint8, or to float32 in [0, 1] when it has more than 8 bits; see
    :class:`~mmfusion.datasets.transforms.LoadPair`.

    Raises:
        PairDataError: NaN or infinite values, values above ``bit_depth``, or floats outside [0, 1] without ``stretch``.
    """
    if image.dtype == np.uint8 and stretch is None:
        return image
    if not np.issubdtype(image.dtype, np.integer):
        broken = image.size - int(np.isfinite(image).sum())
        if broken:
            raise PairDataError(
                'not finite', f'{name}: {broken} of {image.size} values are NaN or infinite; correct the file'
            )
    if stretch is not None:
        low, high = np.percentile(image, stretch)
        scale = max(float(high) - float(low), float(np.finfo(np.float32).tiny))
        return np.clip((image.astype(np.float32) - np.float32(low)) / np.float32(scale), 0, 1)
    if image.dtype == np.uint16:
        top = 2 ** (bit_depth or 16) - 1
        if image.max() > top:
            raise PairDataError(
                'wrong range',
                f'{name}: values up to {image.max()} exceed bit_depth={bit_depth} ({top}); '
                'give the true depth or stretch=(1, 99)',
            )
        return image.astype(np.float32) * np.float32(1 / top)
    low, high = image.min(), image.max()
    if low < 0 or high > 1:
        raise PairDataError(
            'wrong range',
            f'{name}: {image.dtype} values from {low:g} to {high:g} do not lie in [0, 1]; '
            'give stretch=(1, 99) to LoadPair',
        )
    return image.astype(np.float32)
