"""A pair with its images read, and the views of them that several checks need; each is made once, when it is asked
for.
"""

from functools import cached_property
from typing import Tuple

import cv2
import numpy as np

from mmfusion.fileio.errors import PairDataError
from mmfusion.fileio.image_reading import read_alpha, read_image

from .matching import Match, match_features, place_features
from .pairs import PairEntry

WIDTH = 256  # of the longer side of the working picture
SMALL = (32, 24)  # (width, height) of the picture that scenes are told apart by


def to_gray(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 on a scale of 0 to 255; values of more than 8 bits are stretched between their percentiles 0.5 and
    99.5.
    """
    gray = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(_drawable(image), cv2.COLOR_BGR2GRAY)
    gray = gray.astype(np.float32)
    if image.dtype == np.uint8:
        return gray
    finite = gray[np.isfinite(gray)]
    low, high = (float(value) for value in np.percentile(finite, (0.5, 99.5))) if finite.size else (0.0, 1.0)
    scaled = (np.nan_to_num(gray, nan=low) - low) * (255 / max(high - low, 1e-9))
    return np.clip(scaled, 0, 255).astype(np.float32)


def _drawable(image: np.ndarray) -> np.ndarray:
    return image if image.dtype in (np.uint8, np.uint16, np.float32) else image.astype(np.float32)


class LoadedPair:
    """A pair whose images are read when they are asked for.

    Every property raises :class:`~mmfusion.fileio.errors.PairDataError` where the file that it needs cannot be read.

    Args:
        entry: The pair.
    """

    def __init__(self, entry: PairEntry) -> None:
        self.entry = entry

    @cached_property
    def first(self) -> np.ndarray:
        """First image as the file has it: (H, W, 1) or (H, W, 3) BGR."""
        return self._read(self.entry.first, 'first')

    @cached_property
    def second(self) -> np.ndarray:
        """Second image, likewise."""
        if self.entry.alpha and self.entry.second:
            return read_alpha(self.entry.second)
        return self._read(self.entry.second, 'second')

    def _read(self, path, source: str) -> np.ndarray:
        if path is None:
            raise PairDataError('missing partner', f'{self.entry.label} has no {source} image')
        return read_image(path)

    @property
    def images(self) -> Tuple[np.ndarray, np.ndarray]:
        """Both images."""
        return self.first, self.second

    @cached_property
    def grays(self) -> Tuple[np.ndarray, np.ndarray]:
        """Both in gray at full size, float32, 0 to 255."""
        return to_gray(self.first), to_gray(self.second)

    @cached_property
    def working(self) -> Tuple[np.ndarray, np.ndarray]:
        """Both in gray with the longer side of the first brought to 256 pixels, and the second to the same size;
        float32, 0 to 255.
        """
        height, width = self.first.shape[:2]
        factor = WIDTH / max(height, width)
        size = max(32, round(width * factor)), max(32, round(height * factor))
        return tuple(_resized(gray, size) for gray in self.grays)

    @cached_property
    def small(self) -> Tuple[np.ndarray, np.ndarray]:
        """Both at 32x24 pixels, float32, 0 to 255."""
        return tuple(cv2.resize(gray, SMALL, interpolation=cv2.INTER_AREA) for gray in self.working)

    @cached_property
    def features(self) -> Tuple[np.ndarray, np.ndarray]:
        """Features of both working pictures, by which their places are compared."""
        return tuple(place_features(gray) for gray in self.working)

    @cached_property
    def match(self) -> Match:
        """How the second image lies on the first."""
        return match_features(*self.features)


def _resized(gray: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    shrinks = size[0] < gray.shape[1]
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
