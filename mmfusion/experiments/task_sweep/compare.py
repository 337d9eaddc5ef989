"""Comparisons of what a network was given and what it predicted with what its own pipeline would give and predict."""

from typing import Dict, List, Sequence

import numpy as np
import torch
from torch import Tensor

from mmfusion.models.couplings.task_network import PREDICTION_FIELDS

#: Largest difference of inputs, relative to their range: both sides compute in float32, in another order.
TOLERANCE = 1e-5
META = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape', 'scale_factor')


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two inputs are the same, up to :data:`TOLERANCE`."""
    return relative_difference(a, b) <= TOLERANCE


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the range of ``b``; infinite where the shapes differ."""
    if a.shape != b.shape:
        return float('inf')
    span = float(b.max() - b.min()) or 1.0
    return float((a - b).abs().max()) / span


def compare_inputs(given: Tensor, own: Tensor) -> List[str]:
    """What is wrong with the input of a network; nothing where it equals that of its own pipeline."""
    if given.shape != own.shape:
        return [f'inputs are {tuple(given.shape)}, its own {tuple(own.shape)}']
    difference = relative_difference(given, own)
    return [] if difference <= TOLERANCE else [f'inputs differ by {difference:.1e} of their range']


def compare_samples(ours: Sequence, own: Sequence, labels: Sequence[str], training: bool) -> List[str]:
    """Labels and meta information that differ."""
    found = []
    for index, (a, b) in enumerate(zip(ours, own)):
        for name in META:
            if name in b and tuple(a.get(name, ())) != tuple(b.get(name)):
                found.append(f'{name} of picture {index} is {a.get(name)}, its own {b.get(name)}')
        if training:
            mine, theirs = label_arrays(a, labels), label_arrays(b, labels)
            if missing := set(theirs) - set(mine):
                found.append(f'picture {index} lacks {sorted(missing)}')
            found += [
                f'{name} of picture {index} differ'
                for name in set(mine) & set(theirs)
                if not np.array_equal(mine[name], theirs[name])
            ]
    return found


def prediction_arrays(sample) -> Dict[str, np.ndarray]:
    """Everything that was predicted for a picture, by name."""
    arrays = {}
    for field in PREDICTION_FIELDS:
        for key, value in sample.get(field).items() if field in sample else ():
            value = getattr(value, 'tensor', value)
            arrays[f'{field}.{key}'] = np.asarray(value.cpu() if isinstance(value, Tensor) else value)
    return arrays


def similar(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two predictions are the same up to rounding."""
    return a.shape == b.shape and np.allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-4, atol=1e-3)


def label_arrays(sample, labels: Sequence[str]) -> Dict[str, np.ndarray]:
    """All labels of a data sample by name; what ``labels`` does not name is left out."""
    arrays = {}
    for field in ('gt_instances', 'ignored_instances', 'proposals'):
        for key, value in sample.get(field).items() if field in sample else ():
            value = value.to_ndarray() if hasattr(value, 'to_ndarray') else getattr(value, 'tensor', value)
            arrays[f'{field}.{key}'] = np.asarray(value)
    for field in ('gt_sem_seg', 'gt_edge_map'):
        if field in labels and field in sample:
            for key, value in sample.get(field).items():
                arrays[f'{field}.{key}'] = np.asarray(value)
    return arrays


def describe_prediction(sample: dict) -> dict:
    """What was predicted for a picture, and what is wrong with it whatever the network."""
    height, width = sample['ori_shape'][:2]
    fields = [name for name in PREDICTION_FIELDS if sample.get(name) is not None]
    faults = [] if {'pred_instances', 'pred_sem_seg', 'pred_panoptic_seg'} & set(fields) else ['nothing was predicted']
    if 'pred_instances' in fields:
        found = sample['pred_instances']
        if not (torch.isfinite(found['bboxes']).all() and torch.isfinite(found['scores']).all()):
            faults.append('boxes or scores are not finite')
        if 'masks' in found and tuple(found['masks'].shape[-2:]) != (height, width):
            faults.append(f'masks are {tuple(found["masks"].shape[-2:])}, the picture is {(height, width)}')
    for name in ('pred_sem_seg', 'pred_panoptic_seg'):
        if name in fields:
            data = sample[name].get('data', sample[name].get('sem_seg'))
            if tuple(data.shape[-2:]) != (height, width):
                faults.append(f'{name} is {tuple(data.shape[-2:])}, the picture is {(height, width)}')
    return dict(fields=fields, faults=faults)
