"""Data sample of a pair of source images: labels, predictions and the fused image."""

import copy
from typing import Optional, Sequence, Tuple, Union

from mmengine.structures import BaseDataElement, InstanceData, PixelData

TASK_KEY = 'fusion_task'
MAP_FIELDS = ('gt_sem_seg', 'gt_edge_map', 'gt_depth_map', 'valid_map')  # with a value at every pixel
_RESULTS = ('fused', 'seg_logits')  # besides what begins with pred_


def _field(name: str, dtype: type, doc: str) -> property:
    """Make a type-checked property stored in the element's private field ``_name``."""

    def getter(self):
        return getattr(self, f'_{name}')

    def setter(self, value):
        self.set_field(value, f'_{name}', dtype=dtype)

    def deleter(self):
        delattr(self, f'_{name}')

    return property(getter, setter, deleter, doc=doc)


class FusionDataSample(BaseDataElement):
    """Ground truth, predictions and the fused image of one pair of source images.

    It carries the fields that mmdet and mmseg models read and write, so a task network takes it as it is.
    Meta information follows mmdet: ``img_id``, ``first_path``, ``second_path``, ``ori_shape`` (H, W), ``img_shape``
    (H, W after transforms, before padding), ``pad_shape``, ``batch_input_shape``, ``scale_factor`` (w, h), ``flip``,
    ``registration``.

    Attributes:
        gt_instances (InstanceData): ``bboxes`` (n, 4) xyxy in pixels of the network input, ``labels`` (n,), and where
            masks are loaded ``masks`` (mmdet's ``BitmapMasks`` or ``PolygonMasks`` of the size of the input, n long).
        ignored_instances (InstanceData): Boxes that evaluation and training ignore, same fields.
        gt_sem_seg (PixelData): ``data`` (1, H, W), int64 class indices.
        gt_edge_map (PixelData): ``data`` (1, H, W), int64, 1 where classes meet.
        gt_depth_map (PixelData): ``data`` (1, H, W), float.
        valid_map (PixelData): ``data`` (1, H, W), uint8, 1 where both sources show something; all else (0, padding) is
            left out of fusion losses and metrics. Absent for pairs that were not registered on loading.
        fused (PixelData): ``data`` (C, H, W), float in nominal [0, 1], RGB or gray, without the batch padding.
        pred_instances (InstanceData): ``bboxes`` (m, 4) in pixels of the original image, ``scores``, ``labels``.
        pred_sem_seg (PixelData): ``data`` (1, H, W), class indices.
        seg_logits (PixelData): ``data`` (classes, H, W).

    Raises:
        AssertionError: A field is given an element of another type (raised by mmengine).

    Examples:
        >>> import torch
        >>> from mmengine.structures import InstanceData
        >>> sample = FusionDataSample(metainfo=dict(img_shape=(4, 6)))
        >>> sample.gt_instances = InstanceData(bboxes=torch.zeros(2, 4), labels=torch.zeros(2, dtype=torch.long))
        >>> len(sample.gt_instances), sample.img_shape
        (2, (4, 6))
    """

    gt_instances = _field('gt_instances', InstanceData, 'Annotated objects.')
    ignored_instances = _field('ignored_instances', InstanceData, 'Objects to be ignored.')
    pred_instances = _field('pred_instances', InstanceData, 'Detected objects.')
    proposals = _field('proposals', InstanceData, 'Region proposals of a two-stage detector.')
    gt_sem_seg = _field('gt_sem_seg', PixelData, 'Annotated class map.')
    gt_edge_map = _field('gt_edge_map', PixelData, 'Annotated edges between classes.')
    gt_depth_map = _field('gt_depth_map', PixelData, 'Annotated depth.')
    valid_map = _field('valid_map', PixelData, 'Where both sources show something.')
    pred_sem_seg = _field('pred_sem_seg', PixelData, 'Predicted class map.')
    seg_logits = _field('seg_logits', PixelData, 'Predicted class scores.')
    fused = _field('fused', PixelData, 'Fused image.')

    def set_metainfo(self, metainfo: dict) -> None:
        """Set or change meta information, of which a copy is kept, as mmengine does; what cannot change is not copied.

        A batch of training is copied for each network and each move to a device.
        """
        for name, value in metainfo.items():
            self.set_field(
                name=name, value=value if _immutable(value) else copy.deepcopy(value), field_type='metainfo', dtype=None
            )

    def copy_labels(self) -> 'FusionDataSample':
        """A new sample with copies of the meta information and of all labels, whatever their names, without
        predictions.

        A network may resize, pad or relabel what it is given; with a copy that stays its own business.
        """
        new = FusionDataSample(metainfo=self.metainfo)  # copied there
        for name, value in self.items():
            if not name.startswith('pred_') and name not in _RESULTS:
                setattr(new, name, value.clone() if hasattr(value, 'clone') else copy.deepcopy(value))
        return new


def _immutable(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_immutable, value))
    return value is None or type(value) in (str, int, float, bool, bytes)


def fusion_task(data_samples: Optional[Sequence[FusionDataSample]]) -> Union[None, str, Tuple[Optional[str], ...]]:
    """Fusion task of a batch, which the samples name in their metainfo under ``fusion_task``.

    Returns:
        The name when all samples share it, None when no sample names one, else a tuple with the name (or None) of each.

    Examples:
        >>> far, near = (FusionDataSample(metainfo=dict(fusion_task=name)) for name in ('multi_focus', 'multi_exposure'))
        >>> fusion_task([far, far]), fusion_task([far, near]), fusion_task([FusionDataSample()])
        ('multi_focus', ('multi_focus', 'multi_exposure'), None)
    """
    names = tuple(sample.get(TASK_KEY) for sample in data_samples or ())
    return (names[0] if names else None) if len(set(names)) <= 1 else names
