"""Streams that are gray, though they are stored in color."""

from typing import Optional

import cv2
import numpy as np

DISTANCE = 3.0  # mean distance of the channels below which a stream is gray, after a codec


class GrayStream:
    """Frames of a stream in gray where its first one is, though a codec leaves a trace of color in some of them.

    Attributes:
        gray: Whether the stream is gray; None before its first frame in color.
    """

    def __init__(self) -> None:
        self.gray: Optional[bool] = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W), (H, W, 1) or (H, W, 3) BGR; gray is (H, W, 1) where it came in color.

        Examples:
            >>> GrayStream()(np.full((16, 16, 3), 90, np.uint8)).shape
            (16, 16, 1)
        """
        if image.ndim == 2 or image.shape[2] == 1:
            return image
        if self.gray is None:
            small = image[::4, ::4].astype(np.float32)
            self.gray = image.dtype == np.uint8 and float(np.ptp(small, axis=2).mean()) < DISTANCE
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None] if self.gray else image
