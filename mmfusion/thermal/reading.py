"""Temperatures or raw counts of an image file."""

from typing import NamedTuple, Optional, Union

import numpy as np

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_complete, read_image
from mmfusion.utils.errors import InputError

from .flir import FlirError, read_flir
from .makers import foreign_jpeg
from .radiometry import PlanckScale, build_scale


class Thermal(NamedTuple):
    """Values of a thermal image.

    Attributes:
        values: (H, W, 1) float32.
        unit: ``'celsius'`` or ``'counts'``.
    """

    values: np.ndarray
    unit: str


def read_thermal(path: str, radiometry: Union[None, str, dict] = None, asked: bool = True) -> Optional[Thermal]:
    """Read the values of a thermal image.

    Args:
        path: A radiometric JPEG of FLIR, of which the raw thermal image is taken; or a png or tif file of one channel
            with 16 bits or floats.
        radiometry: See :func:`~mmfusion.thermal.radiometry.build_scale`.
        asked: It is this file that is to be thermal. Otherwise one of 8 bits or with color is left alone.

    Returns:
        The values, or None for a file that is left alone.

    Raises:
        PairDataError: The file cannot be read, is of a maker whose files are not, or has color; or its constants are
            missing.
    """
    data, header = read_complete(path)
    if header.kind == 'jpg':
        try:
            flir = read_flir(data)
        except FlirError as error:
            raise PairDataError(
                'truncated image', f'radiometric JPEG {path} is damaged: {error}; copy it from the camera again'
            ) from None
        if flir is not None:
            return to_values(flir.counts[..., None], path, radiometry, flir.scale)
        foreign = foreign_jpeg(data)
        if asked and (foreign or radiometry == 'file'):
            raise PairDataError(
                'no thermal data',
                f'{path}: {foreign}'
                if foreign
                else f'{path} is a plain JPEG without thermal data of FLIR; give the file as the camera wrote it, '
                f'since editors drop them',
            )
    image = read_image(path)
    if not asked and (image.dtype == np.uint8 or image.shape[2] != 1):
        return None
    return to_values(image, path, radiometry)


def foreign_thermal(path: str) -> Optional[str]:
    """Format and way out of a JPEG file with thermal data that are not read, as a clause of a message; None for any
    other file.
    """
    data, header = read_complete(path)
    return foreign_jpeg(data) if header.kind == 'jpg' else None


def to_values(
    image: np.ndarray, name: str, radiometry: Union[None, str, dict], of_file: Optional[PlanckScale] = None
) -> Thermal:
    """Values of raw counts (H, W, 1), or of a gray picture with three equal channels; raises as
    :func:`read_thermal`.
    """
    if image.shape[2] == 3:
        if not (np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])):
            raise PairDataError(
                'wrong channels',
                f'{name} has color, and a window is for one channel of counts or temperatures; '
                f'a picture in false color holds neither',
            )
        image = image[..., :1]
    try:
        scale = build_scale(radiometry, of_file, name)
    except InputError as error:
        raise PairDataError('no scale', str(error)) from None
    if scale is None:
        return Thermal(image.astype(np.float32), 'counts')
    return Thermal(scale.celsius(image).astype(np.float32), 'celsius')
