"""Geometry between the size that the network worked at and the size of the files."""

from typing import Optional, Tuple

import cv2
import numpy as np


def undo_resize(image: np.ndarray, meta: dict) -> Optional[np.ndarray]:
    """Bring a picture at network size back to the original geometry: unflip, cut padding off, resize.

    Args:
        image: (H, W) or (H, W, C) uint8, as large as ``img_shape``.
        meta: ``ori_shape`` (H, W), ``scale_factor`` (w, h) when the pipeline resized, ``flip`` and ``flip_direction``
            when it flipped.

    Returns:
        The picture of size ``ori_shape``; None when the pipeline cropped, so that there is no original geometry to go
        back to.

    Examples:
        >>> import numpy as np
        >>> small = np.zeros((12, 16), np.uint8)  # 10x15 of them picture, the rest padding
        >>> undo_resize(small, dict(ori_shape=(20, 30), scale_factor=(.5, .5))).shape
        (20, 30)
    """
    height, width = meta['ori_shape'][:2]
    scale_w, scale_h = meta.get('scale_factor') or (1, 1)
    if meta.get('flip'):
        direction = meta.get('flip_direction') or 'horizontal'
        # a copy: OpenCV takes no array of negative strides
        image = np.ascontiguousarray(
            np.flip(image, {'horizontal': (1,), 'vertical': (0,), 'diagonal': (0, 1)}[direction])
        )
    inner_h, inner_w = round(height * scale_h), round(width * scale_w)
    if image.shape[0] < inner_h - 1 or image.shape[1] < inner_w - 1:
        return None
    image = image[: max(inner_h, 1), : max(inner_w, 1)]
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def scale_boxes(boxes: np.ndarray, scale_factor: Optional[Tuple[float, float]]) -> np.ndarray:
    """Boxes (n, 4) xyxy from original to network coordinates; ``scale_factor`` is (w, h)."""
    return boxes * np.tile(scale_factor or (1, 1), 2)
