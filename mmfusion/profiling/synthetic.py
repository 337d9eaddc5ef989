"""Random batches that every coupling takes, for timing and for counting operations."""

from typing import Tuple

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmfusion.structures import FusionDataSample
from mmfusion.utils.errors import InputError


def synthetic_batch(
    shape: Tuple[int, int], batch_size: int = 1, channels: Tuple[int, int] = (3, 1), boxes: int = 5, seed: int = 0
) -> dict:
    """A collated batch as a data loader yields it: smooth random pictures with noise, boxes of class 0 and a class map
    of class 0.

    Args:
        shape: (H, W).
        batch_size: Number of pairs.
        channels: Channels of the first and the second source, 1 or 3 each.
        boxes: Annotated boxes in every picture.
        seed: Seed of the pictures and boxes.

    Returns:
        ``dict(inputs=dict(first=[...], second=[...]), data_samples=[...])``, uint8 pictures.

    Raises:
        ValueError: The shape is below 16x16 or the batch is empty.

    Examples:
        >>> synthetic_batch((32, 40), 2)['inputs']['first'][1].shape
        torch.Size([3, 32, 40])
    """
    if len(shape) != 2 or min(shape) < 16 or batch_size < 1:
        raise InputError(
            f'shape must be (H, W) of at least 16x16 and batch_size at least 1, got {tuple(shape)} and {batch_size}'
        )
    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    data = {'inputs': {'first': [], 'second': []}, 'data_samples': []}
    for index in range(batch_size):
        for source, count in zip(('first', 'second'), channels):
            data['inputs'][source].append(_picture(count, height, width, generator))
        corner = torch.rand(boxes, 2, generator=generator) * 0.7
        extent = 0.1 + torch.rand(boxes, 2, generator=generator) * 0.2
        xyxy = torch.cat([corner, corner + extent], 1) * torch.tensor([width, height] * 2)
        sample = FusionDataSample(
            metainfo=dict(
                img_id=index,
                sample_id=str(index),
                ori_shape=(height, width),
                img_shape=(height, width),
                scale_factor=(1.0, 1.0),
                flip=False,
            )
        )
        sample.gt_instances = InstanceData(bboxes=xyxy, labels=torch.zeros(boxes, dtype=torch.long))
        sample.ignored_instances = InstanceData(bboxes=xyxy[:0], labels=torch.zeros(0, dtype=torch.long))
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.long))
        data['data_samples'].append(sample)
    return data


def _picture(channels: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    coarse = torch.rand(1, channels, 8, 8, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode='bicubic', align_corners=False)[0]
    return ((smooth + 0.03 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1) * 255).to(torch.uint8)
