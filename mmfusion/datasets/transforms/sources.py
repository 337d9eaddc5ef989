"""The two sources of a sample: their keys, what messages call them, and their channels."""

import cv2
import numpy as np

SOURCES = ('first', 'second')
COLOR_TYPES = ('color', 'grayscale', 'unchanged', 'auto')


def source_name(results: dict, source: str) -> str:
    """What messages call a source: its file, or the array of a sample."""
    return results.get(f'{source}_path') or f"the array '{source}' of sample {results.get('sample_id', '?')}"


def _is_grey(image: np.ndarray) -> bool:
    """Tell whether three channels are equal; a sparse look first, since most color images differ at once."""
    for step in (16, 1):
        part = image[::step, ::step]
        if not (np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 0], part[..., 2])):
            return False
    return True


def convert_color(image: np.ndarray, color_type: str) -> np.ndarray:
    """Bring an (H, W, 1|3) BGR image to the channels of ``color_type``; see
    :class:`~mmfusion.datasets.transforms.LoadPair`.

    Examples:
        >>> convert_color(np.zeros((4, 5, 1), np.uint8), 'color').shape, convert_color(np.zeros((4, 5, 3), np.uint8), 'auto').shape
        ((4, 5, 3), (4, 5, 1))
    """
    grey = image.shape[2] == 1
    if color_type == 'color' and grey:
        return np.repeat(image, 3, axis=2)
    if color_type == 'grayscale' and not grey:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    if color_type == 'auto' and not grey and _is_grey(image):
        return np.ascontiguousarray(image[..., :1])
    return image
