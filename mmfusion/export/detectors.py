"""One-stage detectors in a form that a graph can record: dense decoding, and non-maximum suppression as one
operator.
"""

from typing import List, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.couplings import TaskNetwork
from mmfusion.models.layers.open_sizes import round_up
from mmfusion.utils import UserError

BOXES, SCORES, LABELS = 'boxes', 'scores', 'labels'
HEADS = ('RTMDetHead', 'RTMDetSepBNHead', 'YOLOXHead', 'FCOSHead', 'RetinaHead', 'GFLHead')
MAX_BOXES = 300  # where the config of a detector has no max_per_img


class Candidates(NamedTuple):
    """Boxes before suppression.

    Attributes:
        boxes: (N, K, 4) xyxy.
        scores: (N, K); -1 for places that hold none.
        labels: (N, K) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@torch.library.custom_op('mmfusion::keep_mask', mutates_args=())
def keep_mask(boxes: Tensor, scores: Tensor, iou_threshold: float, number: int) -> Tensor:
    """1 for the boxes that non-maximum suppression keeps, 0 for the others.

    Args:
        boxes: (N, K, 4) xyxy.
        scores: (N, K); those that are not positive count as absent.
        iou_threshold: Overlap above which the box of the lower score goes.
        number: How many are kept at most.

    Returns:
        Tensor: (N, K) float32.
    """
    from mmcv.ops import nms

    mask = torch.zeros_like(scores)
    for image in range(scores.shape[0]):
        present = (scores[image] > 0).nonzero()[:, 0]
        if present.numel():
            _, kept = nms(boxes[image][present], scores[image][present], iou_threshold)
            mask[image, present[kept[:number]]] = 1
    return mask


@keep_mask.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, number: int) -> Tensor:
    return torch.empty_like(scores)


def translations() -> dict:
    """How torch's exporter writes :func:`keep_mask` in operators of ONNX."""
    from onnxscript import opset18 as op

    def onnx_keep_mask(boxes, scores, iou_threshold: float, number: int):
        selected = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, op.Constant(value_ints=[1])),
            op.Constant(value_ints=[number]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[0.0]),
        )  # (M, 3): image, class, box
        places = op.Gather(selected, op.Constant(value_ints=[0, 2]), axis=1)
        count = op.Shape(selected, start=0, end=1)
        ones = op.Expand(op.Constant(value_floats=[1.0]), count)
        return op.ScatterND(op.Mul(scores, op.Constant(value_float=0.0)), places, ones)

    return {torch.ops.mmfusion.keep_mask.default: onnx_keep_mask}


class DetectionGraph(nn.Module):
    """A one-stage detector on fused images, as ``mmfusion test`` runs it on pictures that are not resized.

    Args:
        task: The detector in its coupling.
        name: Its name there, for messages.

    Raises:
        UserError: Its head is none of :data:`HEADS`, or it suppresses boxes in another way.
    """

    def __init__(self, task: TaskNetwork, name: str) -> None:
        super().__init__()
        network = task.network
        head = getattr(network, 'bbox_head', None)
        if hasattr(network, 'roi_head') or type(head).__name__ not in HEADS:
            if hasattr(network, 'roi_head'):
                found = 'works in two stages and cuts boxes out of features by an operator that ONNX has not'
            else:
                found = 'has no dense head' if head is None else f'has the head {type(head).__name__}'
            raise UserError(
                f'task {name!r} is a {type(network).__name__}, which {found}; detectors with {", ".join(HEADS)} are '
                f'exported. Export the '
                'fuser alone, without --tasks, and run this detector on the fused picture'
            )
        suppression = dict(head.test_cfg.nms)
        if suppression.get('type', 'nms') != 'nms' or suppression.get('class_agnostic'):
            raise UserError(
                f'task {name!r} suppresses boxes by {suppression}, which is not exported; use dict(type="nms")'
            )
        self.task, self.head = task, head
        self.iou_threshold = float(suppression['iou_threshold'])
        self.number = int(head.test_cfg.get('max_per_img') or MAX_BOXES)

    def forward(self, image: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Fused pictures (N, 1 or 3, H, W) in [0, 1] to boxes (N, P, 4) xyxy, scores (N, P) and labels (N, P), the best
        first.

        Places without a box have the score 0 and the label -1.
        """
        size = image.shape[-2:]
        features = self.task.network.extract_feat(self._preprocess(image))
        found = (
            self._yolox(*self.head(features))
            if type(self.head).__name__ == 'YOLOXHead'
            else self._dense(features, size)
        )
        # classes lie apart, so that one pass does for all; what is absent must not set the distance, which costs
        # precision
        reach = torch.where(found.scores.unsqueeze(-1) > 0, found.boxes.abs(), 0.0).amax((1, 2), keepdim=True) + 1
        shift = found.labels.unsqueeze(-1) * reach
        kept = found.scores * keep_mask(found.boxes + shift, found.scores, self.iou_threshold, self.number)
        scores, places = F.pad(kept, (0, self.number)).topk(self.number)  # there may be fewer places
        places = places.clamp(max=found.scores.shape[1] - 1)
        present = scores > 0
        boxes = found.boxes.gather(1, places.unsqueeze(-1).expand(-1, -1, 4)) * present.unsqueeze(-1)
        return boxes, scores * present, found.labels.gather(1, places).masked_fill(~present, -1)

    def _preprocess(self, image: Tensor) -> Tensor:
        preprocessor = self.task.network.data_preprocessor
        x = image * 255
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        elif not self.task.takes_rgb:
            x = x.flip(1)
        if preprocessor._channel_conversion:
            x = x.flip(1)
        if preprocessor._enable_normalize:
            x = (x - preprocessor.mean) / preprocessor.std
        divisor = preprocessor.pad_size_divisor
        if divisor > 1:
            below, right = (round_up(side, divisor) - side for side in image.shape[-2:])
            x = F.pad(x, (0, right, 0, below), value=float(preprocessor.pad_value))
        return x

    def _priors(self, scores: List[Tensor], **options) -> List[Tensor]:
        return self.head.prior_generator.grid_priors(
            [level.shape[-2:] for level in scores], dtype=scores[0].dtype, device=scores[0].device, **options
        )

    def _yolox(self, scores: List[Tensor], deltas: List[Tensor], objectness: List[Tensor]) -> Candidates:
        """One class for each place."""
        priors = torch.cat(self._priors(scores, with_stride=True))
        chances = torch.cat([_rows(level, self.head.cls_out_channels) for level in scores], 1).sigmoid()
        boxes = self.head._bbox_decode(priors, torch.cat([_rows(level, 4) for level in deltas], 1))
        best, labels = chances.max(2)
        total = best * torch.cat([_rows(level, 1) for level in objectness], 1)[..., 0].sigmoid()
        return Candidates(boxes, torch.where(total >= self.head.test_cfg.score_thr, total, -1.0), labels)

    def _dense(self, features: Tuple[Tensor, ...], size: Tuple[int, int]) -> Candidates:
        """The best places and classes of each level, several classes for a place included."""
        scores, deltas, *factors = self.head(features)
        parts = []
        for index, (priors, (stride, _)) in enumerate(zip(self._priors(scores), self.head.prior_generator.strides)):
            factor = _rows(factors[0][index], 1)[..., 0].sigmoid() if factors else None
            parts.append(self._level(scores[index], deltas[index], factor, priors, size, stride))
        return Candidates(*(torch.cat(values, 1) for values in zip(*parts)))

    def _level(self, scores: Tensor, deltas: Tensor, factor, priors: Tensor, size, stride: int) -> Candidates:
        head, cfg = self.head, self.head.test_cfg
        classes = head.cls_out_channels
        number = int(cfg.get('nms_pre', 1000))
        raw = _rows(scores, classes)
        chances = raw.sigmoid() if head.use_sigmoid_cls else raw.softmax(-1)[..., :-1]
        classes = chances.shape[2]
        flat = torch.where(chances > cfg.get('score_thr', 0), chances, -1.0).flatten(1)
        best, chosen = F.pad(flat, (0, number), value=-1.0).topk(number)  # there may be fewer places
        chosen = chosen.clamp(max=flat.shape[1] - 1)
        places, labels = torch.div(chosen, classes, rounding_mode='floor'), chosen % classes
        boxes = self._boxes(deltas, priors[places.flatten()], places, stride).view(-1, number, 4)
        height, width = size
        boxes = torch.stack(
            [boxes[..., axis].clamp(min=0).clamp(max=width if axis % 2 == 0 else height) for axis in range(4)], -1
        )
        if factor is not None:
            best = torch.where(best > 0, best * factor.gather(1, places), best)
        smallest = cfg.get('min_bbox_size', -1)
        if smallest >= 0:
            sides = boxes[..., 2:] - boxes[..., :2]
            best = torch.where((sides > smallest).all(-1), best, -1.0)
        return Candidates(boxes, best, labels)

    def _boxes(self, deltas: Tensor, priors: Tensor, places: Tensor, stride: int) -> Tensor:
        """(N * K, 4) at (N, K) places of a level, of which ``priors`` are the boxes or points."""
        head = self.head
        bins = head.reg_max + 1 if hasattr(head, 'integral') else 1  # GFL predicts how distances are distributed
        rows = _rows(deltas, 4 * bins)
        rows = rows.gather(1, places.unsqueeze(-1).expand(-1, -1, 4 * bins)).flatten(0, 1)
        if bins > 1:
            rows, priors = head.integral(rows) * stride, head.anchor_center(priors)
        return head.bbox_coder.decode(priors, rows)


def _rows(level: Tensor, length: int) -> Tensor:
    """(N, priors * length, h, w) to (N, places, length)."""
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, length)
