"""Registration as configs ask for it: a function of a pair."""

from typing import Callable, NamedTuple, Optional, Union

import cv2
import numpy as np

from mmfusion.fileio.image_reading import to_working_range

from .rig import Rig


class RegisteredPair(NamedTuple):
    """A pair whose second image lies on the first.

    Attributes:
        first: First image, without distortion where a rig has its lens.
        second: (H, W, C) on the pixels of the first, zero where it has nothing.
        summary: ``matrix``, ``confidence`` (1 for a rig) and ``coverage`` as plain values.
        valid: (H, W) bool, where the second image has something.
    """

    first: np.ndarray
    second: np.ndarray
    summary: dict
    valid: np.ndarray


def build_registrar(
    registration: Union[str, dict, None],
) -> Optional[Callable[[np.ndarray, np.ndarray], RegisteredPair]]:
    """A function of (first, second) that registers them.

    Args:
        registration: ``'auto'``, arguments of :func:`~mmfusion.registration.register_pair` as a dict, the path of a rig
            file, or None.

    Raises:
        UserError: By this function for a rig file that cannot be used; by the result for a pair that is refused.
        TypeError: It is none of these, or the dict has an unknown argument.
    """
    if registration is None:
        return None
    if registration == 'auto' or isinstance(registration, dict):
        options = {} if registration == 'auto' else dict(registration)
        unknown = sorted(set(options) - {'model', 'threshold', 'scales', 'max_shift'})
        if unknown:
            raise TypeError(
                f'registration has no argument {", ".join(unknown)}; it has model, threshold, scales, max_shift'
            )
        return _Estimated(options)
    if not isinstance(registration, str):
        raise TypeError(
            f"registration must be 'auto', a dict or the path of a rig file, got {type(registration).__name__}"
        )
    return _Fixed(Rig.load(registration))


def fill_unknown(first: np.ndarray, second: np.ndarray, valid: np.ndarray, name: str = 'first') -> np.ndarray:
    """A second image on the pixels of the first that shows the first, in gray where it is gray itself, where it has
    nothing.

    Args:
        first: (H, W, 1 or 3) BGR.
        second: (H, W, 1 or 3) BGR.
        valid: (H, W) bool, where the second has something.
        name: What messages call the first.

    Raises:
        PairDataError: Values of the first have no known range.
    """
    filler = to_working_range(first, name)
    if second.shape[2] == 1 and filler.shape[2] == 3:
        filler = cv2.cvtColor(filler, cv2.COLOR_BGR2GRAY)[..., None]
    if filler.dtype != second.dtype:
        filler = filler / np.float32(255) if second.dtype == np.float32 else (filler * 255).round().astype(np.uint8)
    return np.where(valid[..., None], second, filler)


class _Estimated:
    """Estimates a transform for each pair."""

    def __init__(self, options: dict) -> None:
        self.options = options

    def __call__(self, first: np.ndarray, second: np.ndarray) -> RegisteredPair:
        from .registering import register_pair  # needs scipy, which a rig does not

        result = register_pair(first, second, **self.options)
        return RegisteredPair(
            first, result.warp(second), _summary(result.matrix, result.confidence, result.valid), result.valid
        )


class _Fixed:
    """Applies the transform of a rig."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def __call__(self, first: np.ndarray, second: np.ndarray) -> RegisteredPair:
        first, second, valid = self.rig.apply(first, second)
        return RegisteredPair(first, second, _summary(self.rig.matrix, 1.0, valid), valid)


def _summary(matrix: np.ndarray, confidence: float, valid: np.ndarray) -> dict:
    return dict(
        matrix=[[float(value) for value in row] for row in matrix],
        confidence=float(confidence),
        coverage=float(valid.mean()),
    )
