"""Pictures between what users have and what a graph takes."""

from typing import Optional, Sequence, Tuple

import numpy as np

from mmfusion.utils.errors import InputError

from .metadata import GraphInfo


def to_input(picture: np.ndarray, channels: int, dtype: str, name: str, bit_depth: Optional[int] = None) -> np.ndarray:
    """A picture as a graph takes it.

    Args:
        picture: (H, W), (H, W, 1) or (H, W, 3) RGB; uint8, uint16, or float in [0, 1].
        channels: 1 or 3. Gray becomes three equal channels; of three equal channels one is taken.
        dtype: ``'uint8'`` or ``'float32'``.
        name: For messages.
        bit_depth: Significant bits of uint16.

    Returns:
        (H, W, channels).

    Raises:
        ValueError: Shape, kind or values are none of these, color is given where the graph takes gray, or more than 8
            bits where it takes 8.

    Examples:
        >>> to_input(np.full((20, 30), 65535, np.uint16), 3, 'float32', 'a.png').max().item()
        1.0
    """
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[2] not in (1, 3):
        raise InputError(f'{name}: a picture must have shape (H, W), (H, W, 1) or (H, W, 3), got {picture.shape}')
    if channels == 3 and picture.shape[2] == 1:
        picture = np.repeat(picture, 3, axis=2)
    elif channels == 1 and picture.shape[2] == 3:
        if not is_gray(picture):
            raise InputError(
                f'{name} is a color picture, and the model takes a gray one here; give its luminance, '
                f'or export the model with '
                '--channels 3 3'
            )
        picture = picture[..., :1]
    if dtype == 'uint8':
        if picture.dtype != np.uint8:
            raise InputError(
                f'{name} has values of type {picture.dtype}, and the model takes 8 bits; export it with --input float32'
            )
        return np.ascontiguousarray(picture)
    return np.ascontiguousarray(_to_unit_range(picture, name, bit_depth))


def _to_unit_range(picture: np.ndarray, name: str, bit_depth: Optional[int]) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture.astype(np.float32) / np.float32(255)
    if picture.dtype == np.uint16:
        top = 2 ** (bit_depth or 16) - 1
        if picture.max() > top:
            raise InputError(f'{name}: values up to {picture.max()} exceed bit depth {bit_depth} ({top})')
        return picture.astype(np.float32) * np.float32(1 / top)
    if not np.issubdtype(picture.dtype, np.floating):
        raise InputError(f'{name}: values must be uint8, uint16 or float in [0, 1], got {picture.dtype}')
    if not np.isfinite(picture).all() or picture.min() < 0 or picture.max() > 1:
        raise InputError(f'{name}: float values must be finite and lie in [0, 1]')
    return picture.astype(np.float32)


def is_gray(picture: np.ndarray) -> bool:
    """Whether (H, W, 1 or 3) is gray, perhaps stored as three equal channels."""
    return picture.ndim == 2 or bool((picture == picture[..., :1]).all())


def to_output(fused: np.ndarray, bits: int, gray: bool) -> np.ndarray:
    """The fused picture of a graph, (H, W, C) uint8 or float in [0, 1], as (H, W) or (H, W, 3) of 8 or 16 bits.

    Examples:
        >>> to_output(np.full((1, 1, 3), 0.5, np.float32), 16, gray=True)
        array([[32768]], dtype=uint16)
    """
    if gray or fused.shape[2] == 1:
        fused = fused[..., 0]
    if bits == 8:
        # the rounding of written pictures elsewhere: half up, and what arithmetic leaves just below a half too
        return (
            fused if fused.dtype == np.uint8 else np.floor(fused * np.float32(255) + np.float32(0.501)).astype(np.uint8)
        )
    if fused.dtype == np.uint8:
        return fused.astype(np.uint16) * 257
    return np.floor(fused * np.float32(65535) + np.float32(0.5)).astype(np.uint16)


def check_pair(
    first: np.ndarray, second: np.ndarray, info: GraphInfo, names: Sequence[str] = ('first', 'second')
) -> Tuple[int, int]:
    """(H, W) of a pair that the graph can take.

    Raises:
        ValueError: The sizes differ, or are too small.
    """
    size = first.shape[:2]
    if second.shape[:2] != size:
        (h1, w1), (h2, w2) = size, second.shape[:2]
        raise InputError(
            f'{names[0]} and {names[1]} differ in size, {w1}x{h1} and {w2}x{h2} pixels; they must lie on each other: '
            f'--registration RIG brings '
            'the second onto the first, and mmfusion register makes RIG from a few pairs'
        )
    if min(size) < info.smallest:
        raise InputError(
            f'{names[0]} has {size[1]}x{size[0]} pixels, which are too few: {info.name} takes pictures from '
            f'{info.smallest}x{info.smallest} on'
        )
    return size
