"""Pictures of a sample: sources, fused image and boxes in one geometry."""

from typing import Dict, NamedTuple, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from mmfusion.evaluation.functional import to_uint8

from .drawing import draw_boxes, make_panel
from .geometry import scale_boxes, undo_resize


def to_picture(image: Tensor, bit_depth: int = 8) -> np.ndarray:
    """Tensor (C, H, W), C = 1 or 3, to a (H, W) or (H, W, 3) RGB uint8 array, by the rounding rule of the metrics.

    Args:
        image: In [0, 1] where it is floating.
        bit_depth: 8, or 16 for uint16 from a floating image.

    Raises:
        ValueError: The image holds NaN or infinite values.
    """
    if bit_depth == 16:
        if not image.isfinite().all():
            raise ValueError('the image holds NaN or infinite values')
        planes = (image.detach().cpu().double().clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
        return planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))
    image = to_uint8(image.detach().cpu())
    return image[0].numpy() if image.shape[0] == 1 else np.ascontiguousarray(image.permute(1, 2, 0).numpy())


class SampleView(NamedTuple):
    """Pictures of one sample, all of one size.

    Attributes:
        fused: (H, W) or (H, W, 3) RGB uint8.
        first: First source, likewise; None when it is not known.
        second: Second source.
        boxes: (n, 4) xyxy in pixels of these pictures.
        labels: (n,).
        scores: (n,).
        original: Whether the size is the files' own.
    """

    fused: np.ndarray
    first: Optional[np.ndarray]
    second: Optional[np.ndarray]
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    original: bool

    def with_boxes(self, meta: Optional[dict] = None, score_thr: float = 0.3) -> np.ndarray:
        """Fused picture with the predicted boxes.

        Args:
            meta: Meta information of the data set: ``classes`` and ``palette``.
            score_thr: Boxes with a lower score are left out.
        """
        meta = meta or {}
        return draw_boxes(
            self.fused, self.boxes, self.labels, self.scores, meta.get('classes') or (), meta.get('palette'), score_thr
        )

    def panel(
        self, meta: Optional[dict] = None, score_thr: float = 0.3, titles: Optional[Sequence[str]] = None
    ) -> np.ndarray:
        """First source, second source and fused picture with boxes, side by side.

        Args:
            meta: Meta information of the data set: ``classes``, ``palette`` and ``modalities``, which are the titles.
            score_thr: Boxes with a lower score are left out.
            titles: Three titles instead.
        """
        names = list(titles or [*((meta or {}).get('modalities') or ('first', 'second'))[:2], 'fused'])
        return make_panel([self.first, self.second, self.with_boxes(meta, score_thr)], names)


def view_sample(
    sample, first: Optional[Tensor] = None, second: Optional[Tensor] = None, size: str = 'original'
) -> SampleView:
    """Make the pictures of a predicted sample.

    Args:
        sample: A FusionDataSample with ``fused`` and perhaps ``pred_instances`` (in original coordinates).
        first: First source as the network got it, (C, H, W), uint8 or floating in [0, 1].
        second: Second source.
        size: ``'original'``: resized back to the files' size where the pipeline resized; ``'network'``: as they are.

    Raises:
        ValueError: The fused image holds NaN, or ``size`` is unknown.
    """
    if size not in ('original', 'network'):
        raise ValueError(f"size must be 'original' or 'network', got {size!r}")
    meta = sample.metainfo
    pictures: Dict[str, Optional[np.ndarray]] = {'fused': to_picture(sample.fused.data)}
    pictures.update(
        first=None if first is None else to_picture(first), second=None if second is None else to_picture(second)
    )
    original = size == 'original'
    if original:
        restored = {name: None if picture is None else undo_resize(picture, meta) for name, picture in pictures.items()}
        original = restored['fused'] is not None
        pictures = restored if original else pictures
    boxes, labels, scores = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
    instances = sample.get('pred_instances', None)
    if instances is not None:
        boxes, labels, scores = (
            value.detach().cpu().float().numpy()
            for value in (_plain(instances.bboxes), instances.labels, instances.scores)
        )
        if not original:
            boxes = scale_boxes(boxes, meta.get('scale_factor'))
    return SampleView(
        pictures['fused'], pictures['first'], pictures['second'], boxes, labels.astype(int), scores, original
    )


def _plain(boxes) -> Tensor:
    return boxes if isinstance(boxes, torch.Tensor) else boxes.tensor  # mmdet's box classes
