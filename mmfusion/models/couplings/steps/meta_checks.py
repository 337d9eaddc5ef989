"""Checks of batches, optimizers and losses before a meta step."""

from typing import Any, Mapping

import torch
from torch import nn

from mmfusion.utils import UserError
from mmfusion.utils.errors import InputError

from ..task_network import count_classes
from .optimizers import check_part_optimizers

LARGEST_EPS = 1e-10


def check_options(coupling: nn.Module) -> None:
    """Check the options of a meta coupling, once its parts but the loss generation module are built.

    Raises:
        ValueError: See :class:`MetaCoupling`.
    """
    name = type(coupling).__name__
    if not len(coupling.tasks):
        raise InputError(f'{name} needs at least one task network in `tasks`; use FusionOnly to train a fuser alone')
    if not len(coupling.fusion_loss):
        raise InputError(f'{name} needs a fusion loss that takes learned weights in `fusion_loss`')
    if not any(parameter.requires_grad for parameter in coupling.fuser.parameters()):
        raise InputError(
            f'{name} needs a fuser that learns, and {type(coupling.fuser).__name__} has no trainable parameters'
        )
    for key, size, least in (('crop_size', coupling.crop_size, 16), ('task_size', coupling.task_size, 16)):
        if size is not None and (len(size) != 2 or min(size) < least):
            raise InputError(f'{name}: {key} must be (height, width) of at least {least} each, or None; got {size}')
    for key, value, allowed in (
        ('resize', coupling.resize, ('sources', 'fused')),
        ('inner_fuser', coupling.inner_fuser, ('current', 'updated')),
    ):
        if value not in allowed:
            raise InputError(f'{name}: {key} must be one of {allowed}, got {value!r}')
    if coupling.inner_steps < 1:
        raise InputError(f'{name}: inner_steps must be at least 1, got {coupling.inner_steps}')


def check_optimizers(coupling: nn.Module, optim_wrapper: Any) -> None:
    """Check the optimizers and the precision of a meta coupling.

    Raises:
        UserError: There is one optimizer for all, one is missing or unknown, gradients are to be accumulated or are of
            half precision, Adam's eps would swallow the gradient, or parts of the model are wrapped one by one.
    """
    parts = {name: part for name, part in coupling.learning_parts().items() if name in ('fuser', 'tasks', 'guide')}
    check_part_optimizers(coupling, optim_wrapper, parts, separate=tuple(parts), optional=('loss_generator', 'guide'))
    device = next(coupling.fuser.parameters()).device.type
    if torch.is_autocast_enabled(device) or any(
        not p.dtype.is_floating_point or p.dtype.itemsize < 4 for p in coupling.parameters()
    ):
        raise UserError(
            'MetaCoupling trains in float32: gradients of the loss generation module are about 1e-8 and vanish in '
            'half precision. Leave autocast and half() out'
        )
    if 'loss_generator' in optim_wrapper:
        eps = max(group.get('eps', 0.0) for group in optim_wrapper['loss_generator'].optimizer.param_groups)
        if eps > LARGEST_EPS:
            raise UserError(
                f'optim_wrapper.loss_generator: eps={eps:g} is too large for gradients of about 1e-8; '
                f'set eps={LARGEST_EPS:g} or less'
            )


def check_labels(data: Any, tasks: Mapping[str, nn.Module]) -> None:
    """Check labels of a collated batch against its images and the classes of the tasks.

    Args:
        data: ``inputs`` and ``data_samples``, as collated.
        tasks: Task networks by name.

    Raises:
        ValueError: There are no samples, a class map is not as large as its image, or a class is beyond the list; the
            message names the sample.
    """
    samples = data.get('data_samples') if isinstance(data, dict) else None
    if not samples:
        raise InputError(
            'MetaCoupling learns from labels, but the batch has no data_samples: end the training pipeline with '
            'PackFusionInputs'
        )
    for sample, image in zip(samples, data['inputs']['first']):
        name = sample.get('sample_id', sample.get('img_id', '?'))
        if 'gt_sem_seg' in sample and sample.gt_sem_seg.data.shape[-2:] != image.shape[-2:]:
            raise InputError(
                f'the class map of sample {name!r} has the size '
                f'{tuple(sample.gt_sem_seg.data.shape[-2:])} and its image {tuple(image.shape[-2:])}: load annotations '
                f'before the transforms that change the size'
            )
        for task_name, task in tasks.items():
            number, labels = count_classes(task.network), _labels(task, sample)
            if number is None or labels is None or not labels.numel():
                continue
            if int(labels.max()) >= number or int(labels.min()) < 0:
                raise InputError(
                    f'sample {name!r} has class {int(labels.max() if labels.max() >= number else labels.min())}, '
                    f'but task {task_name!r} has num_classes={number}, that is 0 to {number - 1}; correct the labels '
                    f'or num_classes'
                )


def _labels(task: nn.Module, sample):
    if task.kind == 'detection':
        return sample.gt_instances.labels if 'gt_instances' in sample else None
    if 'gt_sem_seg' not in sample:
        return None
    head, labels = task.network.decode_head, sample.gt_sem_seg.data
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    return labels[labels != getattr(head, 'ignore_index', 255)]
