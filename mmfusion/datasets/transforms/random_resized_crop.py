"""A random part of an image, resized."""

import math
from typing import Sequence, Tuple, Union

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS
from mmfusion.utils.errors import InputError
from mmfusion.utils.value_range import RANGE_TOLERANCE


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Cut a part of random area and aspect ratio out of an image and bring it to one size; inside :class:`Paired`, the
    same part of both sources.

    The area is drawn evenly, the ratio evenly on a log scale. After ten parts that do not fit, the largest central one
    with an allowed ratio is taken. The resize is bicubic (a = -0.5), smoothed where it shrinks, as Pillow does it;
    values keep the range of their type. A class map is cut alike and resized to the nearest pixel.

    Args:
        size: (height, width) of the result, or one number for both.
        scale: Least and most area of the part, relative to the image.
        ratio: Least and most width / height of the part.

    Required keys: ``img``, (H, W, C) uint8, uint16 or float32 in [0, 1]; ``gt_seg_map`` (H, W) if there is one.

    Changed keys: the same, and ``img_shape``.

    Raises:
        ValueError: An argument is out of range, the sample has boxes, which the crop would leave in the wrong place, or
            a float image is not in [0, 1].

    Examples:
        >>> crop = RandomResizedCrop((32, 48), scale=(0.2, 1.0))
        >>> crop(dict(img=np.zeros((100, 80, 3), np.uint8)))['img'].shape
        (32, 48, 3)
    """

    def __init__(
        self,
        size: Union[int, Sequence[int]],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        size = (size, size) if isinstance(size, int) else tuple(size)
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f'RandomResizedCrop: size must be (height, width) in pixels, got {size}')
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'RandomResizedCrop: scale must be 0 < least <= most <= 1, got {tuple(scale)}')
        if len(ratio) != 2 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'RandomResizedCrop: ratio must be 0 < least <= most, got {tuple(ratio)}')
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)

    def draw(self, height: int, width: int) -> Tuple[int, int, int, int]:
        """Choose a part of an image of this size: (top, left, height, width)."""
        for _ in range(10):
            area = height * width * np.random.uniform(*self.scale)
            ratio = math.exp(np.random.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            part_height, part_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < part_height <= height and 0 < part_width <= width:
                return (
                    np.random.randint(height - part_height + 1),
                    np.random.randint(width - part_width + 1),
                    part_height,
                    part_width,
                )
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        part_height, part_width = min(height, max(round(width / ratio), 1)), min(width, max(round(height * ratio), 1))
        return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width

    def transform(self, results: dict) -> dict:
        """Cut and resize."""
        if 'gt_bboxes' in results:
            raise InputError(
                'RandomResizedCrop does not move boxes; use mmdet.RandomCrop and mmdet.Resize, '
                'or leave mmdet.LoadAnnotations out'
            )
        top, left, height, width = self.draw(*results['img'].shape[:2])
        part = np.s_[top : top + height, left : left + width]
        results['img'] = resize_bicubic(results['img'][part], self.size)
        if 'gt_seg_map' in results:
            results['gt_seg_map'] = cv2.resize(
                results['gt_seg_map'][part], self.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT
            )
        results['img_shape'] = self.size
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, scale={self.scale}, ratio={self.ratio})'


def resize_bicubic(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Resize (H, W, C) integers, or float in [0, 1], to (height, width), bicubic and without aliasing; OpenCV's own
    aliases where it shrinks.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float()  # (1, C, H, W)
    tensor = F.interpolate(tensor, size, mode='bicubic', antialias=True, align_corners=False)[0]
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        tensor = tensor.round().clamp(limits.min, limits.max)
    else:
        if image.size and image.max() > 1 + RANGE_TOLERANCE:
            raise InputError(
                f'RandomResizedCrop takes float images in [0, 1], and this one goes up to {image.max():g}; '
                f'inside a transform of mmcv, '
                'give unit_range=True to Paired'
            )
        tensor = tensor.clamp(0, 1)
    return np.ascontiguousarray(tensor.numpy().transpose(1, 2, 0).astype(image.dtype))
