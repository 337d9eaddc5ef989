"""Input of a network as mmdet or mmseg alone would make it, from the same pictures and the same annotations."""

from typing import Any, Dict, List, Sequence

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmfusion.models.couplings.task_labels import PADDED_BY_PIPELINE
from mmfusion.models.scoped import build_scoped
from mmfusion.utils.scope import scoped

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'border')


def file_like(picture: Tensor, rgb: bool) -> np.ndarray:
    """A fused picture (3, H, W), RGB in [0, 1], as an image loaded from a file: (H, W, 3) in [0, 255], BGR unless
    ``rgb``.

    It is float32 and not rounded, so that it is the picture that the network was given.
    """
    image = (picture.detach().cpu().clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image if rgb else image[..., ::-1])


def proposals(item: dict) -> np.ndarray:
    """(n, 4) boxes near the annotated ones of an item."""
    boxes = np.asarray([instance['bbox'] for instance in item['instances']], np.float32).reshape(-1, 4)
    return np.concatenate([boxes, boxes + np.float32([1, 1, 3, 3])])


def packed(item: dict, image: np.ndarray, package: str, labels: Sequence[str], with_proposals: bool = False) -> dict:
    """Inputs and data sample of one picture by the transforms of ``package``.

    Args:
        item: Annotations as a data set gives them, see :class:`mmfusion.datasets.DemoPairs`.
        image: (H, W, 3) in [0, 255].
        package: ``'mmdet'`` or ``'mmseg'``.
        labels: Which to load.
        with_proposals: Whether proposals come with the picture.
    """
    shape = image.shape[:2]
    results: Dict[str, Any] = dict(
        img=image, img_id=0, img_path='', img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), flip=False,
        flip_direction=None, height=shape[0], width=shape[1], instances=item['instances'],
        border=(0, shape[0], 0, shape[1]),  # CenterNet and its kin ask where the picture lies in the input
    )  # fmt: skip
    if {'gt_sem_seg', 'gt_edge_map'} & set(labels):
        results.update(gt_seg_map=item['gt_seg_map'].copy(), seg_fields=['gt_seg_map'])
    if package == 'mmseg':
        from mmseg.datasets.transforms import GenerateEdge, PackSegInputs

        steps = [GenerateEdge(edge_width=4)] if 'gt_edge_map' in labels else []
        steps.append(PackSegInputs())
    else:
        from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs

        if with_proposals:
            results.update(proposals=proposals(item), proposals_scores=np.ones(2 * len(item['instances']), np.float32))
        steps = [LoadAnnotations(with_bbox=True, with_mask='masks' in labels), PackDetInputs(meta_keys=META_KEYS)]
    for step in steps:
        results = step(results)
    return results


def preprocessed(network: dict, samples: List[dict], training: bool) -> dict:
    """A batch by the network's own data preprocessor, newly built from its config."""
    package = network['type'].split('.')[0]
    cfg = padded(network)['data_preprocessor']
    preprocessor = build_scoped(dict(cfg, type=f'{package}.{cfg["type"]}'))
    return preprocessor(pseudo_collate(samples), training)


def padded(network: dict) -> dict:
    """The config of a network whose preprocessor pads as the published pipeline does, where that pads."""
    divisor = PADDED_BY_PIPELINE.get(network['type'].split('.')[-1], 1)
    cfg = network['data_preprocessor']
    if cfg.get('pad_size_divisor', 1) > 1 or divisor == 1:
        return network
    return dict(network, data_preprocessor=dict(cfg, pad_size_divisor=divisor))


def run_alone(network: dict, samples: List[dict], test_batch_size: int) -> None:
    """A training step and a prediction of the network without fusion; whatever goes wrong is raised."""
    model = build_scoped(padded(network))
    model.init_weights()
    package = scoped(network)['_scope_']
    model.train()
    data = model.data_preprocessor(pseudo_collate(samples), True)
    losses = model(**data, mode='loss')
    model.parse_losses(losses)[0].backward()
    model.eval()
    if package == 'mmseg':
        test_batch_size = 1  # it tests pictures of one size
    batches = [samples[at : at + test_batch_size] for at in range(0, len(samples), test_batch_size)]
    with torch.no_grad():
        for batch in batches:
            model.test_step(pseudo_collate(batch))
