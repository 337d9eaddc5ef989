"""Crops, resizes and exchanged roles of a whole batch of pairs, labels included."""

from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmfusion.structures import MAP_FIELDS, FusionDataSample

from .image_sizes import SIZES_KEY, Size, padded_sizes

_BOX_FIELDS = ('gt_instances', 'ignored_instances')


class PairBatch(NamedTuple):
    """Images of N pairs with their samples.

    Attributes:
        inputs: Images by name (``first`` and ``second``), each (N, C, H, W) float in [0, 1]; ``sizes`` of padded images
            may stand beside them.
        samples: N samples; ``img_shape`` (H, W) says how much of an image is not padding.
    """

    inputs: Dict[str, Tensor]
    samples: Sequence[FusionDataSample]


def swap_roles(batch: PairBatch) -> PairBatch:
    """The batch, followed by a copy in which the sources have changed places; labels are repeated.

    A gray source beside an RGB one becomes RGB with three equal channels, whose chroma has no weight when color is
    restored.

    Args:
        batch: ``first`` and ``second``.

    Returns:
        Batch of 2 N pairs.

    Examples:
        >>> batch = PairBatch(dict(first=torch.zeros(1, 3, 16, 16), second=torch.ones(1, 1, 16, 16)), [FusionDataSample()])
        >>> both = swap_roles(batch)
        >>> both.inputs['first'].shape, both.inputs['first'].mean((1, 2, 3)).tolist(), len(both.samples)
        (torch.Size([2, 3, 16, 16]), [0.0, 1.0], 2)
    """
    first, second = batch.inputs['first'], batch.inputs['second']
    channels = max(first.shape[1], second.shape[1])
    first, second = (x.expand(-1, channels, -1, -1) for x in (first, second))
    sizes = padded_sizes(batch.inputs)
    return PairBatch(
        dict(
            batch.inputs,
            first=torch.cat([first, second]),
            second=torch.cat([second, first]),
            **({SIZES_KEY: sizes * 2} if sizes else {}),
        ),
        [*batch.samples, *(sample.copy_labels() for sample in batch.samples)],
    )


def random_crop(batch: PairBatch, size: Optional[Size], generator: Optional[torch.Generator] = None) -> PairBatch:
    """Cut one random window out of every pair, at the same place in both sources.

    Every position at which the window lies inside the picture is equally likely, the last row and column included. A
    picture smaller than the window makes the window of the whole batch as small.

    Args:
        batch: Images with samples.
        size: (height, width) of the window; None leaves the batch as it is.
        generator: Random numbers, torch's own when missing.

    Returns:
        The windows, with boxes moved and clipped (those outside are dropped) and class maps cut.
    """
    if size is None:
        return batch
    shapes = [_shape(sample, batch) for sample in batch.samples]
    height, width = (min(size[axis], *(shape[axis] for shape in shapes)) for axis in (0, 1))
    corners = [
        tuple(
            int(torch.randint(full - part + 1, (1,), generator=generator)) for full, part in zip(shape, (height, width))
        )
        for shape in shapes
    ]
    inputs = {
        name: torch.stack([image[:, y : y + height, x : x + width] for image, (y, x) in zip(images, corners)])
        for name, images in _images(batch).items()
    }
    samples = [_crop_labels(sample, y, x, height, width) for sample, (y, x) in zip(batch.samples, corners)]
    return PairBatch({**_without_sizes(batch), **inputs}, samples)


def resize_batch(batch: PairBatch, size: Optional[Size]) -> PairBatch:
    """Resize every image (without its padding) bilinearly, class maps to the nearest pixel, and boxes by the factors of
    width and height.

    Args:
        batch: Images with samples.
        size: (height, width); None leaves the batch as it is.

    Returns:
        Images of exactly that size; ``scale_factor`` of the samples leads back to the original image as before.
    """
    if size is None:
        return batch
    shapes = [_shape(sample, batch) for sample in batch.samples]
    inputs = {}
    for name, images in _images(batch).items():
        if all(shape == tuple(images.shape[-2:]) for shape in shapes):
            inputs[name] = _resize_images(images, size)
        else:
            inputs[name] = torch.cat(
                [_resize_images(image[None, :, :h, :w], size) for image, (h, w) in zip(images, shapes)]
            )
    return PairBatch(
        {**_without_sizes(batch), **inputs},
        [_resize_labels(sample, shape, size) for sample, shape in zip(batch.samples, shapes)],
    )


def _images(batch: PairBatch) -> Dict[str, Tensor]:
    return {name: value for name, value in batch.inputs.items() if isinstance(value, Tensor)}


def _without_sizes(batch: PairBatch) -> Dict[str, Tensor]:
    return {name: value for name, value in batch.inputs.items() if name != SIZES_KEY}


def _shape(sample: FusionDataSample, batch: PairBatch) -> Size:
    full = next(iter(_images(batch).values())).shape[-2:]
    return tuple(int(side) for side in sample.get('img_shape', full)[:2])


def _resize_images(images: Tensor, size: Size) -> Tensor:
    return (
        images
        if tuple(images.shape[-2:]) == tuple(size)
        else F.interpolate(images, size=tuple(size), mode='bilinear', align_corners=False)
    )


def _boxes_changed(
    instances: InstanceData, boxes: Tensor, masks: object = None, keep: Optional[Tensor] = None
) -> InstanceData:
    changed = instances.clone()
    changed.bboxes = boxes
    if 'masks' in changed:
        del changed.masks  # InstanceData cannot choose among masks
    if keep is not None:
        changed, masks = changed[keep], None if masks is None else masks[keep.nonzero().flatten().cpu().numpy()]
    if masks is not None:
        changed.masks = masks
    return changed


def _crop_labels(sample: FusionDataSample, y: int, x: int, height: int, width: int) -> FusionDataSample:
    new = sample.copy_labels()
    for name in _BOX_FIELDS:
        if name in new:
            boxes, masks = getattr(new, name).bboxes, getattr(new, name).get('masks')
            masks = None if masks is None else masks.crop(np.array([x, y, x + width, y + height]))
            moved = boxes - boxes.new_tensor([x, y, x, y])
            moved = torch.minimum(moved.clamp_min(0), moved.new_tensor([width, height, width, height]))
            keep = ((moved[:, 2:] - moved[:, :2]) >= 1).all(1)  # a box of less than a pixel is no object
            setattr(new, name, _boxes_changed(getattr(new, name), moved, masks, keep))
    for name in MAP_FIELDS:
        if name in new:
            setattr(new, name, PixelData(data=getattr(new, name).data[..., y : y + height, x : x + width]))
    new.set_metainfo(dict(img_shape=(height, width), pad_shape=(height, width), batch_input_shape=(height, width)))
    return new


def _resize_labels(sample: FusionDataSample, shape: Size, size: Size) -> FusionDataSample:
    new = sample.copy_labels()
    factors: List[float] = [size[1] / shape[1], size[0] / shape[0]]  # of x by the width, of y by the height
    for name in _BOX_FIELDS:
        if name in new:
            boxes, masks = getattr(new, name).bboxes, getattr(new, name).get('masks')
            masks = None if masks is None else masks.resize(tuple(size))
            setattr(new, name, _boxes_changed(getattr(new, name), boxes * boxes.new_tensor(factors * 2), masks))
    for name in MAP_FIELDS:
        if name in new:
            values = getattr(new, name).data[..., : shape[0], : shape[1]]
            resized = F.interpolate(values[None].float(), size=tuple(size), mode='nearest-exact')[0].to(values.dtype)
            setattr(new, name, PixelData(data=resized))
    scale = new.get('scale_factor', (1.0, 1.0))
    new.set_metainfo(
        dict(
            img_shape=tuple(size),
            pad_shape=tuple(size),
            batch_input_shape=tuple(size),
            scale_factor=(scale[0] * factors[0], scale[1] * factors[1]),
        )
    )
    return new
