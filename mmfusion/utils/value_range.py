"""The range that float sources must keep, checked in one place."""

import math
from typing import Union

import numpy as np
from torch import Tensor

from .errors import InputError

RANGE_TOLERANCE = 1e-3  # a quarter of a gray level of 8 bits: rounding of an interpolation, not another scale


def check_unit_range(image: Union[np.ndarray, Tensor], name: str) -> None:
    """Raise an error when a float image is not in [0, 1]; integers pass.

    One pass over the image. A tensor on a GPU is waited for, so the check belongs before the transfer.

    Args:
        image: Array or tensor of any shape.
        name: What it is, for the message: source, sample and, where known, file.

    Raises:
        ValueError: Values beyond [0, 1] by more than a thousandth, NaN or infinite; the message says what to do.

    Examples:
        >>> check_unit_range(np.array([0.0, 1.0]), 'first source of sample a')
        >>> check_unit_range(np.array([0.0, 254.0]), 'first source of sample a')
        Traceback (most recent call last):
        ...
        mmfusion.utils.errors.InputError: first source of sample a holds float64 values from 0 to 254; float sources lie in [0, 1]...
    """
    floating = image.is_floating_point() if isinstance(image, Tensor) else np.issubdtype(image.dtype, np.floating)
    if not floating or math.prod(image.shape) == 0:
        return
    low, high = (
        float(value) for value in (image.aminmax() if isinstance(image, Tensor) else (image.min(), image.max()))
    )
    if low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE:
        return
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f'{name} holds NaN or infinite values; correct the file, or the transform that made them')
    kind = str(image.dtype).replace('torch.', '')
    raise InputError(
        f'{name} holds {kind} values from {low:g} to {high:g}; float sources lie in [0, 1], 8-bit ones in 0...255 as '
        f'uint8. Wrap '
        'transforms of mmcv, mmdet and mmseg in Paired, which keeps type and range, leave normalization to the data '
        'preprocessor of the task network, and let a transform of your own divide by its full scale'
    )
