"""Colors of classes that a data set gives none for."""

import colorsys
from typing import List, Optional, Sequence, Tuple

GOLDEN_ANGLE = 0.61803398875


def class_colors(n: int, palette: Optional[Sequence[Tuple[int, int, int]]] = None) -> List[Tuple[int, int, int]]:
    """One RGB color per class: the data set's own, then bright ones whose hues lie far apart.

    Args:
        n: Number of classes.
        palette: The data set's colors, possibly too few.

    Returns:
        At least ``n`` tuples of ints 0..255; the same for the same class in every run.

    Examples:
        >>> class_colors(2, [(220, 20, 60)])[0]
        (220, 20, 60)
    """
    colors = [tuple(int(c) for c in color) for color in (palette or [])]
    for i in range(len(colors), n):
        hue = (0.33 + i * GOLDEN_ANGLE) % 1
        colors.append(tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.85, 1.0)))
    return colors
