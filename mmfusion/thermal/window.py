"""A window of temperatures that is the same for all frames, and what is kept of the temperatures."""

from typing import Dict, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from mmfusion.fileio.errors import PairDataError
from mmfusion.utils.errors import InputError

TONES = ('clahe',)


def check_window(window: object) -> Optional[Tuple[float, float]]:
    """A window as its users write it, (low, high), or None.

    Raises:
        InputError: It is something else, or empty.

    Examples:
        >>> check_window([20, 40])
        (20.0, 40.0)
    """
    if window is None:
        return None
    if (
        isinstance(window, (list, tuple))
        and len(window) == 2
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and np.isfinite(v) for v in window)
        and window[0] < window[1]
    ):
        return float(window[0]), float(window[1])
    raise InputError(f'window must be (low, high) with low < high, in raw counts or in degrees Celsius, got {window!r}')


def check_tone(tone: Union[None, str, dict]) -> Optional[dict]:
    """A tone mapping as its users write it: None, ``'clahe'``, or ``dict(clip=0.01, grid=8)``.

    Raises:
        InputError: It is something else.
    """
    if tone is None:
        return None
    options = dict(clip=0.01, grid=8)
    if isinstance(tone, dict) and set(tone) <= set(options):
        options.update(tone)
    elif tone not in TONES:
        raise InputError(f"tone must be None, 'clahe' or dict(clip=0.01, grid=8), got {tone!r}")
    if not 0 < options['clip'] <= 1 or not isinstance(options['grid'], int) or options['grid'] < 1:
        raise InputError(f'tone: clip must lie in (0, 1] and grid be a whole number from 1 on, got {tone!r}')
    return options


class ThermalFacts(NamedTuple):
    """What is known of the temperatures of a source.

    Attributes:
        unit: ``'celsius'``, or ``'counts'`` where no scale is known.
        window: Values that became black and white.
        minimum: Smallest value of the whole image.
        maximum: Largest one.
        mean: Mean of all.
        outside: Part of the pixels that lie outside of the window, in [0, 1].
    """

    unit: str
    window: Tuple[float, float]
    minimum: float
    maximum: float
    mean: float
    outside: float


def apply_window(
    values: np.ndarray, window: Sequence[float], unit: str, name: str, tone: Optional[dict] = None
) -> 'tuple[np.ndarray, ThermalFacts]':
    """Gray values of temperatures or counts: 0 at the low end of the window and below, 1 at the high end and above.

    The same value has the same gray in every image, unless ``tone`` adapts it to its surroundings.

    Args:
        values: (H, W, 1).
        window: (low, high).
        unit: Of both, ``'celsius'`` or ``'counts'``.
        name: Of the image, for errors.
        tone: Options of :func:`tone_map`.

    Returns:
        tuple: float32 (H, W, 1) in [0, 1], and the facts.

    Raises:
        PairDataError: Values are not finite, or none lies in the window.
    """
    finite = np.isfinite(values)
    if not finite.all():
        raise PairDataError(
            'not finite',
            f'{name}: {values.size - int(finite.sum())} of {values.size} values are NaN or infinite; correct the file',
        )
    low, high = window
    smallest, largest = float(values.min()), float(values.max())
    inside = (values >= low) & (values <= high)
    if not inside.any():
        raise PairDataError(
            'empty window',
            f'{name}: no pixel lies in window=({low:g}, {high:g}) {_name(unit)}; its values reach from {smallest:g} to '
            f'{largest:g}. '
            'Give a window in that range' + ('' if unit == 'celsius' else ', or radiometry for one in degrees'),
        )
    facts = ThermalFacts(unit, (low, high), smallest, largest, float(values.mean()), float(1 - inside.mean()))
    image = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return (image if tone is None else tone_map(image, **tone)), facts


def _name(unit: str) -> str:
    return 'degrees Celsius' if unit == 'celsius' else 'raw counts'


def tone_map(image: np.ndarray, clip: float = 0.01, grid: int = 8) -> np.ndarray:
    """Contrast-limited adaptive histogram equalization (K. Zuiderveld, Graphics Gems IV, 1994), which shows detail in
    warm and cold places at once.

    scikit-image's, with 1024 bins: that of OpenCV has 256 bins or 65536, of which the former shows steps in 16-bit data
    and the latter clips nothing. The gray of a temperature then depends on what is around it.

    Args:
        image: (H, W, 1) float32 in [0, 1].
        clip: Limit of a bin, as a part of the pixels of a tile; larger for more contrast.
        grid: Tiles along each side.

    Returns:
        (H, W, 1) float32 in [0, 1].
    """
    from skimage.exposure import equalize_adapthist

    if image.min() == image.max():
        return image
    kernel = [max(1, -(-side // grid)) for side in image.shape[:2]]
    mapped = equalize_adapthist(image[..., 0].astype(np.float64), kernel, clip, nbins=1024)
    return np.clip(mapped, 0, 1).astype(np.float32)[..., None]


def box_facts(values: np.ndarray, boxes: np.ndarray) -> 'list[Optional[Dict[str, float]]]':
    """Minimum, maximum and mean of the values in each box, None for one without pixels.

    Args:
        values: (H, W); NaN where nothing is known.
        boxes: (n, 4) xyxy in pixels of it. Pixels whose centers lie inside count.

    Examples:
        >>> box_facts(np.arange(12.0).reshape(3, 4), np.array([[1, 1, 3, 3]]))
        [{'minimum': 5.0, 'maximum': 10.0, 'mean': 7.5}]
    """
    found = []
    height, width = values.shape
    for x1, y1, x2, y2 in np.asarray(boxes, np.float64).reshape(-1, 4):
        left, right = np.clip(np.ceil([x1 - 0.5, x2 - 0.5]), 0, width).astype(int)
        top, bottom = np.clip(np.ceil([y1 - 0.5, y2 - 0.5]), 0, height).astype(int)
        inside = values[top:bottom, left:right]
        inside = inside[np.isfinite(inside)]
        found.append(
            dict(minimum=float(inside.min()), maximum=float(inside.max()), mean=float(inside.mean()))
            if inside.size
            else None
        )
    return found
