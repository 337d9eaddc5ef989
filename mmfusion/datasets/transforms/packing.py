"""Packing of a pipeline's results into tensors and a data sample."""

from typing import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from mmfusion.registry import TRANSFORMS
from mmfusion.structures import FusionDataSample
from mmfusion.utils.errors import InputError, InputKeyError
from mmfusion.utils.value_range import check_unit_range

from .sources import SOURCES

# field of the sample -> key in the results, type
MAPS = dict(
    gt_sem_seg=('gt_seg_map', np.int64),
    gt_edge_map=('gt_edge_map', np.int64),
    gt_depth_map=('gt_depth_map', np.float32),
    valid_map=('valid_map', np.uint8),
)
META_KEYS = (
    'img_id',
    'sample_id',
    'first_path',
    'second_path',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'instances',
    'reduce_zero_label',
    'border',
    'thermal',
    'registration',
)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) BGR or gray to a contiguous (C, H, W) RGB or gray tensor of the same type."""
    mirrored = image.strides[1] < 0  # as mmcv's flip leaves it, which copies slowly
    if mirrored:
        image = image[:, ::-1]
    planes = cv2.split(np.ascontiguousarray(image))[::-1]
    return torch.from_numpy(np.stack([cv2.flip(plane, 1) for plane in planes] if mirrored else planes))


def _plain_boxes(boxes) -> torch.Tensor:
    """(n, 4) float32 xyxy from an array, a tensor or a box structure of mmdet."""
    tensor = getattr(boxes, 'tensor', boxes)
    return torch.as_tensor(
        np.asarray(tensor) if not isinstance(tensor, torch.Tensor) else tensor, dtype=torch.float32
    ).reshape(-1, 4)


@TRANSFORMS.register_module()
class PackFusionInputs(BaseTransform):
    """End a pipeline: pack sources, labels and meta information.

    Returns ``dict(inputs=dict(first=Tensor, second=Tensor), data_samples=FusionDataSample)``. Sources are (C, H, W),
    RGB or gray, uint8 or float32 in [0, 1] as loaded. Boxes become plain xyxy tensors in ``gt_instances``, and masks
    stand beside them as mmdet loaded them; those with ``ignore_flag`` go to ``ignored_instances``. A class map becomes
    ``gt_sem_seg`` with int64 data (1, H, W), an edge map (``mmseg.GenerateEdge``) ``gt_edge_map``, a depth map
    ``gt_depth_map``, the boxes of ``proposals`` an element of that name, the valid region of a pair that was registered
    on loading ``valid_map``. Without loaded labels these are absent.

    Args:
        meta_keys: Keys that are kept as meta information if they are present. ``instances`` (the annotation in pixels
            of the original image) is what ``mmdet.CocoMetric`` with ``ann_file=None`` reads.

    Raises:
        KeyError: A source is missing.
        ValueError: The sources differ in size, are of a type, shape or range that no coupling takes, or are still of a
            reduced size.

    Examples:
        >>> import numpy as np
        >>> packed = PackFusionInputs()(dict(first=np.zeros((16, 20, 3), np.uint8), second=np.zeros((16, 20, 1), np.float32), img_id=3))
        >>> packed['inputs']['first'].shape, packed['inputs']['second'].dtype, packed['data_samples'].img_id
        (torch.Size([3, 16, 20]), torch.float32, 3)
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack one sample."""
        if 'reduced_from' in results:
            raise InputError(
                'PackFusionInputs: LoadPair decoded the pair at a reduced size (reduce_to), and no ReducedResize '
                'followed'
            )
        images = self._check(results)
        sample = FusionDataSample(metainfo={key: results[key] for key in self.meta_keys if key in results})
        if 'img_shape' not in sample:
            sample.set_metainfo(dict(img_shape=images['first'].shape[:2]))
        if 'scale_factor' not in sample:  # mmdet's heads need it to return to original coordinates, resized or not
            sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
        if 'gt_bboxes' in results:
            self._pack_boxes(results, sample)
        if 'valid_map' in results and results['valid_map'].shape != images['first'].shape[:2]:
            raise InputError(
                f'PackFusionInputs: the valid region of sample {results.get("sample_id", "?")} is '
                f'{results["valid_map"].shape}, its images are {images["first"].shape[:2]}; transforms that change the '
                f'size after Register belong in Paired'
            )
        for field, (key, dtype) in MAPS.items():
            if key in results:
                setattr(sample, field, PixelData(data=torch.from_numpy(results[key].astype(dtype))[None]))
        if 'proposals' in results:
            scores = torch.as_tensor(
                np.asarray(results.get('proposals_scores', np.ones(len(results['proposals'])))), dtype=torch.float32
            )
            sample.proposals = InstanceData(bboxes=_plain_boxes(results['proposals']), scores=scores)
        return dict(inputs={source: _to_tensor(image) for source, image in images.items()}, data_samples=sample)

    @staticmethod
    def _check(results: dict) -> dict:
        name = f'sample {results.get("sample_id", results.get("img_id", "?"))}'
        missing = [source for source in SOURCES if source not in results]
        if missing:
            raise InputKeyError(f'PackFusionInputs: {name} has no {missing}; put LoadPair first')
        for source in SOURCES:
            image = results[source]
            if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype not in (np.uint8, np.float32):
                raise InputError(
                    f'PackFusionInputs: {source} of {name} must be (H, W, 1|3), uint8 or float32, '
                    f'got {image.shape} {image.dtype}'
                )
            file = f' ({results[f"{source}_path"]})' if results.get(f'{source}_path') else ''
            check_unit_range(image, f'PackFusionInputs: {source} source of {name}{file}')
        if results['first'].shape[:2] != results['second'].shape[:2]:
            sizes = ' and '.join(str(results[source].shape[:2]) for source in SOURCES)
            raise InputError(
                f'PackFusionInputs: the sources of {name} have the sizes {sizes}; '
                f'wrap transforms of single images in Paired'
            )
        return {source: results[source] for source in SOURCES}

    @staticmethod
    def _pack_boxes(results: dict, sample: FusionDataSample) -> None:
        boxes = _plain_boxes(results['gt_bboxes'])
        labels = torch.as_tensor(np.asarray(results.get('gt_bboxes_labels', np.zeros(len(boxes)))), dtype=torch.long)
        ignored = torch.as_tensor(np.asarray(results.get('gt_ignore_flags', np.zeros(len(boxes)))), dtype=torch.bool)
        sample.gt_instances = InstanceData(bboxes=boxes[~ignored], labels=labels[~ignored])
        sample.ignored_instances = InstanceData(bboxes=boxes[ignored], labels=labels[ignored])
        if 'gt_masks' in results:
            masks = results['gt_masks']
            if len(masks) != len(boxes):
                raise InputError(
                    f'PackFusionInputs: sample {results.get("sample_id", "?")} has {len(boxes)} boxes and '
                    f'{len(masks)} masks; a '
                    'transform of the pipeline changed only one of the two'
                )
            sample.gt_instances.masks = masks[np.flatnonzero(~ignored.numpy())]
            sample.ignored_instances.masks = masks[np.flatnonzero(ignored.numpy())]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
