"""Pictures of a fused frame: boxes and classes on the fused picture and on both sources."""

from typing import List, Optional

import numpy as np

from mmfusion.visualization.drawing import as_rgb, draw_boxes, make_panel
from mmfusion.visualization.palette import class_colors

from .fusing import FusedFrame

_SHARE = 0.45  # of a class's color


def draw_frame(frame: FusedFrame, meta: Optional[dict] = None, score_thr: float = 0.3) -> List[np.ndarray]:
    """Fused picture, first and second source, each with the boxes and the classes that were found on the fused one.

    Args:
        frame: A fused frame.
        meta: Meta information of the data set: ``classes``, ``palette``, ``seg_palette``.
        score_thr: Boxes with a lower score are left out.

    Returns:
        Three (H, W, 3) RGB uint8.
    """
    meta, view = meta or {}, frame.view
    pictures = [as_rgb(image) for image in (view.fused, view.first, view.second)]
    classes = None if frame.sample is None else frame.sample.get('pred_sem_seg', None)
    if classes is not None:
        numbers = classes.data[0].cpu().numpy().clip(0)
        colors = np.array(class_colors(int(numbers.max()) + 1, meta.get('seg_palette')), np.uint8)[numbers]
        pictures = [np.rint(image * (1 - _SHARE) + colors * _SHARE).astype(np.uint8) for image in pictures]
    names, palette = meta.get('classes') or (), meta.get('palette')
    return [draw_boxes(image, view.boxes, view.labels, view.scores, names, palette, score_thr) for image in pictures]


def draw_panel(frame: FusedFrame, meta: Optional[dict] = None, score_thr: float = 0.3) -> np.ndarray:
    """First source, second source and fused picture side by side, as :func:`draw_frame` draws them; (H', W', 3) RGB
    uint8.
    """
    fused, first, second = draw_frame(frame, meta, score_thr)
    names = list(((meta or {}).get('modalities') or ('first', 'second'))[:2])
    return make_panel([first, second, fused], [*names, 'fused'])
