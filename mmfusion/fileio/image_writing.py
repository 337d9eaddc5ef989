"""Pictures on disk that are either whole or absent."""

import os
import re
from typing import Dict, Hashable

import cv2
import numpy as np

from mmfusion.fileio import write_bytes
from mmfusion.utils.errors import InputError

#: Files that hold 16 bits.
DEEP_SUFFIXES = ('.png', '.tif', '.tiff')


def write_image(path: str, image: np.ndarray) -> str:
    """Write a picture, through a temporary file beside it, so that no half-written file is ever seen.

    Args:
        path: File to write, its extension chooses the format (png keeps every value); its folder is made when missing.
        image: (H, W) gray or (H, W, 3) RGB, uint8, or uint16 for a png or tif file.

    Returns:
        The absolute path.

    Raises:
        TypeError: The image is neither uint8 nor uint16.
        ValueError: Its shape is no picture's, or OpenCV cannot write this format, or not with 16 bits.
        OSError: The file cannot be written (disk full, no permission); the message names it.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        raise TypeError(
            f'cannot write {path}: the image must be a uint8 or uint16 array, got '
            f'{getattr(image, "dtype", type(image).__name__)}'
        )
    if image.dtype == np.uint16 and os.path.splitext(path)[1].lower() not in DEEP_SUFFIXES:
        raise InputError(f'cannot write {path}: 16 bits fit into .png and .tif files; choose one of these')
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ValueError(f'cannot write {path}: the image must have shape (H, W) or (H, W, 3), got {image.shape}')
    path = os.path.abspath(path)
    try:
        ok, data = cv2.imencode(os.path.splitext(path)[1] or '.none', image if image.ndim == 2 else image[..., ::-1])
    except cv2.error:
        ok = False
    if not ok:
        raise InputError(
            f'cannot write {path}: unknown image format {os.path.splitext(path)[1]!r}, use .png, .jpg, .bmp or .tif'
        )
    write_bytes(path, data.tobytes(), sync=False, remedy='free space there or choose another folder')
    return path


class FileNames:
    """File names for samples: safe on every file system, and distinct for distinct samples.

    Examples:
        >>> names = FileNames()
        >>> names('day/0001', 0), names('day/0001', 0), names('day_0001', 7)
        ('day_0001', 'day_0001', 'day_0001_7')
    """

    def __init__(self) -> None:
        self._owner: Dict[str, Hashable] = {}

    def __call__(self, sample_id: str, key: Hashable) -> str:
        """Name without extension.

        Args:
            sample_id: Name of the sample; characters that do not belong in a file name become ``_``.
            key: What tells two samples of the same name apart, such as ``img_id``; the same key gets the same name
                again.
        """
        name = re.sub(r'[^\w.+=@ -]', '_', str(sample_id)).strip(' .') or 'image'
        candidate, extra = name, 0
        while self._owner.setdefault(candidate.lower(), (sample_id, key)) != (
            sample_id,
            key,
        ):  # some file systems ignore case
            candidate = f'{name}_{key}' if not extra else f'{name}_{key}_{extra}'
            extra += 1
        return candidate
