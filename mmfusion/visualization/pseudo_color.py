"""Pictures of temperatures in false color with a scale bar. For looking at, never for data: no temperature can be read
back from them.
"""

from typing import Sequence, Tuple

import cv2
import numpy as np

from mmfusion.utils.errors import InputError

PALETTES = dict(
    inferno=cv2.COLORMAP_INFERNO,
    magma=cv2.COLORMAP_MAGMA,
    plasma=cv2.COLORMAP_PLASMA,
    viridis=cv2.COLORMAP_VIRIDIS,
    cividis=cv2.COLORMAP_CIVIDIS,
    turbo=cv2.COLORMAP_TURBO,
    hot=cv2.COLORMAP_HOT,
    jet=cv2.COLORMAP_JET,
)
BAR, GAP, TICKS = 14, 6, 5
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def check_palette(palette: str) -> str:
    """The name of a palette.

    Raises:
        InputError: There is none of this name.
    """
    if palette not in PALETTES:
        raise InputError(f'palette must be one of {", ".join(PALETTES)}, got {palette!r}')
    return palette


def pseudo_color(
    values: np.ndarray, window: Sequence[float], palette: str = 'inferno', unit: str = 'celsius'
) -> np.ndarray:
    """A picture of temperatures with a scale bar at its right.

    Args:
        values: (H, W) in the unit; NaN becomes gray.
        window: (low, high) of the palette.
        palette: Name out of :data:`PALETTES`; the first five grow evenly in brightness.
        unit: ``'celsius'`` or ``'counts'``.

    Returns:
        (H, W + bar, 3) RGB uint8, at least as high as the bar needs.

    Raises:
        InputError: There is no such palette.

    Examples:
        >>> picture = pseudo_color(np.full((120, 160), 36.6), (20, 40))
        >>> picture.shape[0], picture.shape[1] > 160
        (120, True)
    """
    low, high = window
    known = np.isfinite(values)
    level = (np.clip((np.where(known, values, low) - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    picture = cv2.applyColorMap(level, PALETTES[check_palette(palette)])[..., ::-1].copy()
    picture[~known] = 128
    return _beside(picture, _scale_bar(max(picture.shape[0], 64), (low, high), palette, unit))


def _scale_bar(height: int, window: Tuple[float, float], palette: str, unit: str) -> np.ndarray:
    low, high = window
    ticks = np.linspace(low, high, TICKS)
    texts = [f'{tick:.4g}' for tick in ticks[:-1]] + [f'{ticks[-1]:.4g}{" C" if unit == "celsius" else ""}']
    sizes = [cv2.getTextSize(text, _FONT, _SIZE, 1)[0] for text in texts]
    bar = np.full((height, GAP + BAR + GAP + max(width for width, _ in sizes) + GAP, 3), 255, np.uint8)
    ramp = np.linspace(255, 0, height - 2 * GAP).round().astype(np.uint8)[:, None].repeat(BAR, axis=1)
    bar[GAP : height - GAP, GAP : GAP + BAR] = cv2.applyColorMap(ramp, PALETTES[palette])[..., ::-1]
    for index, (text, (_, size)) in enumerate(zip(texts, sizes)):
        row = round((height - 1 - GAP) - index * (height - 1 - 2 * GAP) / (TICKS - 1))
        baseline = int(np.clip(row + size // 2, size + 1, height - 2))
        cv2.putText(bar, text, (2 * GAP + BAR, baseline), _FONT, _SIZE, (0, 0, 0), 1, cv2.LINE_AA)
    return bar


def _beside(picture: np.ndarray, bar: np.ndarray) -> np.ndarray:
    canvas = np.full((bar.shape[0], picture.shape[1] + bar.shape[1], 3), 255, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    canvas[:, picture.shape[1] :] = bar
    return canvas
