"""Less flicker: fused pictures smoothed over time where the sources stand still, and windows of values that move
slowly.
"""

from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

_SHARE = 0.6  # of the new picture, where nothing moves
_QUIET, _MOVES = 3.0, 6.0  # times the usual change by noise: below the first nothing moves, above the second all does
_PACE, _SLEW = 0.05, 0.02  # of a window: part of the way to the new one, and most of its width


class SteadyPicture:
    """A recursive filter that moving things pass by.

    A rule that takes the stronger of two details follows the noise of either source, pixel by pixel, and a fuser that
    normalizes each picture by its own extremes follows those; both flicker more than the sources do. Where neither
    source changes by more than its noise, the output goes 0.6 of the way to the new picture, which halves its flicker;
    where one changes, it is the new picture. So nothing is smeared, and a change of light shows at once.
    """

    def __init__(self) -> None:
        self._state: Optional[np.ndarray] = None
        self._sources: Optional[list] = None
        self._noise: Optional[list] = None

    def __call__(self, fused: np.ndarray, sources: Sequence[np.ndarray]) -> np.ndarray:
        """Smooth one picture.

        Args:
            fused: (H, W) or (H, W, 3) uint8.
            sources: Pictures of both sources of the same size, RGB or gray.

        Returns:
            Of the shape of ``fused``, uint8.
        """
        small = [_reduced(image) for image in sources]
        if self._state is None or self._state.shape != fused.shape:
            self._state, self._sources, self._noise = np.ascontiguousarray(fused), small, [np.inf] * len(small)
            return fused
        share = self._share(small, fused.shape[:2])
        # in 8 bits, half the time of float; what stands still comes to rest within a gray level
        self._state = cv2.blendLinear(np.ascontiguousarray(fused), self._state, share, 1 - share)
        return self._state

    def _share(self, small: Sequence[np.ndarray], shape: Tuple[int, int]) -> np.ndarray:
        """Weight of the new picture, (H, W) float32."""
        moved = np.zeros(small[0].shape, np.float32)
        for index, (now, former) in enumerate(zip(small, self._sources)):
            change = np.abs(now - former)
            # noise grows slowly: light that goes on everywhere is none
            noise = self._noise[index] = max(min(float(np.median(change[::4, ::4])), 1.05 * self._noise[index]), 0.25)
            np.maximum(moved, (change / noise - _QUIET) / (_MOVES - _QUIET), out=moved)
            self._sources[index] = former + (now - former) * np.float32(_SHARE)
        moved = cv2.dilate(np.clip(moved, 0, 1), np.ones((3, 3), np.uint8))
        return _SHARE + (1 - _SHARE) * cv2.resize(moved, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _reduced(image: np.ndarray) -> np.ndarray:
    """Gray at half the size, smoothed, float32."""
    gray = image
    if image.ndim == 3:  # a view of BGR from a decoder, as a rule, which needs no copy
        bgr = image[..., ::-1]
        gray = cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2GRAY)
    half = cv2.resize(gray, (-(-gray.shape[1] // 2), -(-gray.shape[0] // 2)), interpolation=cv2.INTER_AREA)
    return cv2.blur(half, (3, 3)).astype(np.float32)


class SteadyWindow:
    """Percentiles of a stream that are mapped to 0 and 1, smoothed over time.

    The percentiles of each picture alone jump when something hot comes into view, and the whole picture with them.

    Args:
        percentiles: Low and high, in [0, 100].
    """

    def __init__(self, percentiles: Sequence[float]) -> None:
        self.percentiles = tuple(percentiles)
        self.window: Optional[np.ndarray] = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The picture in [0, 1], float32, of the shape of ``image``; values that are not finite stay."""
        finite = image[np.isfinite(image)] if image.dtype.kind == 'f' else image
        found = np.percentile(finite, self.percentiles) if finite.size else np.array([0.0, 1.0])
        if self.window is None:
            self.window = found
        else:
            most = _SLEW * max(self.window[1] - self.window[0], 1e-6)
            self.window = self.window + np.clip(_PACE * (found - self.window), -most, most)
        low, high = self.window
        return np.clip((image.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)
