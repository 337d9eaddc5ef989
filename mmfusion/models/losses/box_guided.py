"""Pixel loss guided by boxes: the brighter source inside, the mean of both outside."""

from typing import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmfusion.registry import MODELS
from mmfusion.utils.errors import InputError

from .base import BaseFusionLoss


def boxes_to_mask(boxes: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Union of boxes as a mask, for a whole batch without a loop over boxes.

    Coordinates are cut to integers toward zero and clamped to the image; a box covers pixels x1 <= x < x2, y1 <= y <
    y2. The boxes themselves are left as they are.

    Args:
        boxes: N tensors (n, 4), xyxy in pixels; n may be 0.
        height: H of the mask.
        width: W of the mask.

    Returns:
        Tensor: (N, H, W) bool.

    Examples:
        >>> boxes_to_mask([torch.tensor([[1.9, 0., 3.2, 1.]])], height=2, width=4).int().tolist()
        [[[0, 1, 1, 0], [0, 0, 0, 0]]]
    """
    padded = pad_sequence(
        [box.detach().reshape(-1, 4) for box in boxes], batch_first=True
    ).long()  # padding (0, 0, 0, 0) covers nothing
    x1, y1, x2, y2 = padded.unsqueeze(-1).unbind(
        2
    )  # each (N, n, 1); coordinates outside the image need no clamp to be compared
    xs, ys = (torch.arange(size, device=padded.device) for size in (width, height))
    columns = ((xs >= x1) & (xs < x2)).float()  # (N, n, W)
    rows = ((ys >= y1) & (ys < y2)).float()  # (N, n, H)
    return (
        torch.bmm(rows.transpose(1, 2), columns) > 0
    )  # a pixel is in the union when one box holds its row and its column


@MODELS.register_module()
class BoxGuidedPixelLoss(BaseFusionLoss):
    r"""Inside the annotated boxes close to the brighter source, outside to the mean of both.

    .. math:: L = \overline{M |F - \max(A, B)|} + \overline{(1 - M) |F - (A + B) / 2|}

    M is the union of the boxes; both means divide by all pixels. Source: MoE-Fusion (ICCV 2023). Needs ``boxes`` in
    pixels of the images it is given, which must have been resized along with them.

    Args:
        loss_weight: Factor of the result.

    Raises:
        ValueError: At run time, when ``boxes`` are missing or not one tensor per image.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)

    def criterion(self, fused: Tensor, first: Tensor, second: Tensor, **context) -> Tensor:
        """Mean over all pixels, each measured against its side's target."""
        boxes = context.get('boxes')
        if boxes is None:
            raise InputError(
                'BoxGuidedPixelLoss needs `boxes`: load box annotations in the training pipeline '
                '(mmdet.LoadAnnotations with with_bbox=True), or drop this loss from fusion_loss'
            )
        if len(boxes) != len(fused):
            raise InputError(f'BoxGuidedPixelLoss: {len(boxes)} box tensors for {len(fused)} images')
        boxes = [getattr(box, 'tensor', box).to(fused.device) for box in boxes]
        mask = boxes_to_mask(boxes, *fused.shape[-2:]).unsqueeze(1)  # (N, 1, H, W)
        # Each pixel belongs to one side, so the two means of the formula are one.
        target = torch.where(mask, torch.maximum(first, second), (first + second) / 2)
        return (fused - target).abs().mean()
