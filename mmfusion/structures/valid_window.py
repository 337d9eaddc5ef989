"""The part of a pair that fusion losses and metrics look at: the largest rectangle in which both sources show
something.

Most losses and metrics have windows, pyramids or sums over the picture, so single pixels cannot be left out of them
exactly; a rectangle can, as padding is.
"""

from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from torch import Tensor

MIN_SIDE = 16  # pixels: what every fuser and nearly every metric takes
# blocks along the longer side in which the rectangle is looked for before its sides are moved out pixel by pixel
_GRID = 64


class Window(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def usable(self) -> bool:
        """Whether it is large enough to be rated."""
        return min(self.height, self.width) >= MIN_SIDE

    def cut(self, images: Tensor) -> Tensor:
        """The rectangle of (..., H, W)."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]


def valid_window(valid: Tensor) -> Optional[Window]:
    """Largest rectangle of a valid map, up to the grid on which it is looked for.

    Args:
        valid: (1, H, W) or (H, W); 1 is valid, all else (0, padding of a class map) is not.

    Returns:
        None where every pixel is valid. A window without pixels where none is.

    Examples:
        >>> import torch
        >>> valid = torch.zeros(1, 40, 60, dtype=torch.uint8)
        >>> valid[:, 3:, 5:58] = 1
        >>> valid_window(valid)
        Window(top=3, left=5, height=37, width=53)
        >>> valid_window(torch.ones(40, 60)) is None
        True
    """
    mask = (valid.reshape(valid.shape[-2:]) == 1).cpu().numpy()
    if mask.all():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return Window(0, 0, 0, 0)
    box = Window(rows[0].item(), columns[0].item(), np.ptp(rows).item() + 1, np.ptp(columns).item() + 1)
    if np.count_nonzero(mask) == box.height * box.width:  # a shift leaves a rectangle
        return box
    return _grow(mask, _coarse(mask))


def _coarse(mask: np.ndarray) -> Window:
    """Largest rectangle of whole blocks, by the histogram of heights below every row."""
    side = max(1, -(-max(mask.shape) // _GRID))
    height, width = (length // side for length in mask.shape)
    blocks = np.asarray(mask[: height * side, : width * side].reshape(height, side, width, side).all((1, 3)))
    best, heights = Window(0, 0, 0, 0), np.zeros(width + 1, int)  # the last one ends every run
    for row in range(height):
        heights[:-1] = (heights[:-1] + 1) * blocks[row]
        runs: List[Tuple[int, int]] = []  # (left, height), heights rising
        for column, value in enumerate(heights.tolist()):
            left = column
            while runs and runs[-1][1] >= value:
                left, tall = runs.pop()
                if tall * (column - left) > best.height * best.width:
                    best = Window(row + 1 - tall, left, tall, column - left)
            runs.append((left, value))
    return Window(*(value * side for value in best))


def _grow(mask: np.ndarray, window: Window) -> Window:
    """Move each side out as long as all of it is valid."""
    top, left, bottom, right = window.top, window.left, window.top + window.height, window.left + window.width
    grown = bool(window.height)
    while grown:
        grown = False
        if top and mask[top - 1, left:right].all():
            top, grown = top - 1, True
        if bottom < mask.shape[0] and mask[bottom, left:right].all():
            bottom, grown = bottom + 1, True
        if left and mask[top:bottom, left - 1].all():
            left, grown = left - 1, True
        if right < mask.shape[1] and mask[top:bottom, right].all():
            right, grown = right + 1, True
    return Window(top, left, bottom - top, right - left)
