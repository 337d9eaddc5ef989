"""Boxes and side-by-side panels, drawn with OpenCV: a panel takes milliseconds, where matplotlib takes tenths of a
second.
"""

from typing import Optional, Sequence, Tuple

import cv2
import numpy as np

from .palette import class_colors

FONT = cv2.FONT_HERSHEY_SIMPLEX
BAR, GAP = 22, 4


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 1 or 3) uint8 to a contiguous (H, W, 3) copy."""
    image = image[..., None] if image.ndim == 2 else image
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))).copy()


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: Optional[np.ndarray] = None,
    classes: Sequence[str] = (),
    palette: Optional[Sequence[Tuple[int, int, int]]] = None,
    score_thr: float = 0.3,
) -> np.ndarray:
    """Draw detected or annotated boxes with their class names.

    Args:
        image: (H, W) or (H, W, 3) RGB, uint8; not changed.
        boxes: (n, 4) xyxy in pixels of the image.
        labels: (n,) class indices.
        scores: (n,) in [0, 1]; without them every box is drawn.
        classes: Class names; an index without a name is shown as a number.
        palette: RGB color per class; fixed distinct colors when missing or short.
        score_thr: Boxes below are left out.

    Returns:
        (H, W, 3) RGB uint8.
    """
    canvas = as_rgb(image)
    boxes, labels = np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.asarray(labels, dtype=np.int64).reshape(-1)
    keep = np.ones(len(boxes), dtype=bool) if scores is None else np.asarray(scores) >= score_thr
    keep &= np.isfinite(boxes).all(1)
    if not keep.any():
        return canvas
    colors = class_colors(int(labels.max()) + 1, palette)
    thickness = max(1, round(min(canvas.shape[:2]) / 300))
    scale = max(0.35, min(canvas.shape[:2]) / 1200)
    # the best box is drawn last, on top
    order = (
        np.flatnonzero(keep)
        if scores is None
        else np.flatnonzero(keep)[np.argsort(np.asarray(scores)[keep], kind='stable')]
    )
    limit = 4 * max(canvas.shape)  # OpenCV draws with 16-bit fractions, far corners would wrap around
    for i in order:
        x1, y1, x2, y2 = np.clip(boxes[i], -limit, limit).round().astype(int).tolist()
        color = colors[labels[i]]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness)
        text = classes[labels[i]] if 0 <= labels[i] < len(classes) else str(labels[i])
        if scores is not None:
            text += f' {scores[i]:.2f}'
        (w, h), base = cv2.getTextSize(text, FONT, scale, 1)
        x = min(max(x1, 0), max(canvas.shape[1] - w, 0))
        y = y1 - base - 1 if y1 - h - base - 1 >= 0 else min(max(y1, 0) + h + 1, canvas.shape[0] - base)
        cv2.rectangle(canvas, (x, y - h - 1), (x + w, y + base), color, cv2.FILLED)
        dark = sum(c * k for c, k in zip(color, (299, 587, 114))) < 128000
        cv2.putText(canvas, text, (x, y), FONT, scale, (255, 255, 255) if dark else (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def make_panel(images: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Put pictures side by side, each under its title.

    Args:
        images: (H, W) or (H, W, 3) RGB, uint8, of equal height.
        titles: One for each.

    Returns:
        (H + bar, sum of widths and gaps, 3) RGB uint8, on white.

    Raises:
        ValueError: There is no image, heights differ, or titles are missing.

    Examples:
        >>> import numpy as np
        >>> make_panel([np.zeros((40, 60), np.uint8)] * 2, ['visible', 'infrared']).shape
        (62, 124, 3)
    """
    if not images or len(images) != len(titles) or len({image.shape[0] for image in images}) > 1:
        raise ValueError(
            f'a panel takes images of equal height and a title for each, got {[image.shape for image in images]} '
            f'and {list(titles)}'
        )
    height = images[0].shape[0]
    panel = np.full((height + BAR, sum(image.shape[1] for image in images) + GAP * (len(images) - 1), 3), 255, np.uint8)
    x = 0
    for image, title in zip(images, titles):
        width = image.shape[1]
        panel[BAR:, x : x + width] = as_rgb(image)
        # long titles shrink to the width of their picture
        scale = min(0.5, 0.5 * (width - 4) / max(cv2.getTextSize(title, FONT, 0.5, 1)[0][0], 1))
        cv2.putText(panel, title, (x + 2, BAR - 7), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
        x += width + GAP
    return panel
