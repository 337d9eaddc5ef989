"""Checks and conversion of the labels that a task network needs."""

from typing import Dict

from mmengine.structures import PixelData
from torch import nn

from mmfusion.structures import MAP_FIELDS, FusionDataSample
from mmfusion.utils.errors import InputError

LOAD = 'load annotations in the training pipeline, or leave this task out of the config'
REMEDIES = dict(
    gt_instances=LOAD,
    gt_sem_seg="put dict(type='LoadClassMap') into the training pipeline, of a data set with class maps, "
    'or leave this task out of the config',
    masks="load them with dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True), "
    'from a data set that has masks (CocoPairDataset)',
    gt_edge_map='make it from the class map, behind the transforms that change the size: '
    "dict(type='mmseg.GenerateEdge', edge_width=4)",
    gt_depth_map="load it, with dict(type='mmseg.LoadDepthAnnotation')",
)
#: Detectors whose published pipelines pad pictures to a multiple of this number themselves, since their maps have to
#: cover the input exactly.
PADDED_BY_PIPELINE = dict(CenterNet=32, CornerNet=128, RTMDet=32)


def needed_labels(network: nn.Module, kind: str) -> Dict[str, str]:
    """Fields of a sample, and ``masks`` of its instances, that a network learns from; what to do where one is missing.

    Examples:
        >>> list(needed_labels(nn.Identity(), 'segmentation'))
        ['gt_sem_seg']
    """
    if kind == 'segmentation':
        head = type(getattr(network, 'decode_head', None)).__name__
        needed = ['gt_depth_map'] if head.endswith('DepthHead') else ['gt_sem_seg']
        needed += ['gt_edge_map'] if head == 'PIDHead' else []
    else:
        roi_head, panoptic = getattr(network, 'roi_head', None), getattr(network, 'panoptic_head', None)
        dense = type(getattr(network, 'bbox_head', None)).__name__
        learns_masks = getattr(network, 'with_mask', False) or panoptic is not None or dense.startswith('RTMDetIns')
        learns_maps = (
            getattr(roi_head, 'with_semantic', False)
            or getattr(network, 'with_semantic_head', False)
            or getattr(panoptic, 'num_stuff_classes', 0) > 0
        )
        needed = [
            'gt_instances',
            *(['masks'] if learns_masks and 'BoxInst' not in dense else []),
            *(['gt_sem_seg'] if learns_maps else []),
        ]
    return {name: REMEDIES[name] for name in needed}


def check_labels(network: nn.Module, kind: str, sample: FusionDataSample) -> None:
    """Check that a sample has what a network learns from.

    Raises:
        ValueError: It has not; the message names the sample and the remedy.
    """
    for name, remedy in needed_labels(network, kind).items():
        if name not in (sample.gt_instances if name == 'masks' else sample):
            raise InputError(
                f'{type(network).__name__} needs {name} for its loss, but sample {sample.get("sample_id", "?")!r} '
                f'has none: {remedy}'
            )


def fit_maps(sample: FusionDataSample, kind: str) -> None:
    """Cut the batch's padding off every map, as it is cut off the image, and put class maps where mmdet looks for them.

    The network's preprocessor pads image and maps alike. mmdet reads ``gt_sem_seg.sem_seg``, mmseg ``gt_sem_seg.data``.
    """
    height, width = sample.img_shape[:2]
    for name in MAP_FIELDS:
        if name in sample:
            data = getattr(sample, name).data[..., :height, :width]
            setattr(
                sample,
                name,
                PixelData(sem_seg=data) if kind == 'detection' and name == 'gt_sem_seg' else PixelData(data=data),
            )


def set_border(sample: FusionDataSample) -> None:
    """Say where in the network's input the picture lies (top, bottom, left, right), unless a transform has moved it:
    CenterNet and its kin ask.
    """
    if 'border' not in sample:
        height, width = sample.img_shape[:2]
        sample.set_metainfo(dict(border=(0, height, 0, width)))
