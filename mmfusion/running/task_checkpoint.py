"""Checkpoints of single task networks in the place of a coupling's."""

import logging
from typing import Iterable, Optional

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from mmfusion.utils import UserError
from mmfusion.utils.compat import without_init_listing
from mmfusion.utils.errors import building
from mmfusion.utils.state_dict import listing, state_dict_of
from mmfusion.utils.unwrap import unwrap

MARK = 'backbone.'  # every detector of mmdet and segmentor of mmseg has one, no coupling has it at the top
SEGMENTATION_MARK = 'decode_head.'


def use_task_checkpoint(cfg: Config, checkpoint: str) -> Optional[str]:
    """Where a file holds one detector or segmentor, as mmdet or mmseg wrote it, make it the ``init_cfg`` of the
    config's task of this kind.

    Args:
        cfg: Config with ``model``; changed in place.
        checkpoint: File or address of weights.

    Returns:
        Name of the task, None when the file is not a task network's.

    Raises:
        UserError: The file cannot be loaded, or the config has no such task, or several.
    """
    kind = task_kind(checkpoint)
    if kind is None:
        return None
    prefix = dict(segmentor='mmseg', detector='mmdet')[kind]
    tasks = cfg.model.get('tasks') or {}
    fitting = [name for name, task in tasks.items() if str(task.get('type')).startswith(f'{prefix}.')]
    if len(fitting) != 1:
        raise UserError(
            f'{checkpoint} is the checkpoint of a {kind} alone, and the config has {len(fitting)} tasks of '
            f'this kind among ({", ".join(tasks)}); say where it belongs: --cfg-options '
            f'model.tasks.NAME.init_cfg.type=mmfusion.PretrainedTask model.tasks.NAME.init_cfg.checkpoint={checkpoint}'
        )
    (name,) = fitting
    former = tasks[name].get('init_cfg')
    kept = dict(former) if isinstance(former, dict) and str(former.get('type')).endswith('PretrainedTask') else {}
    kept.pop('if_absent', None)
    tasks[name].init_cfg = {**kept, 'type': 'mmfusion.PretrainedTask', 'checkpoint': checkpoint}
    print_log(
        f'{checkpoint} is the checkpoint of a {kind} alone: model.tasks.{name} starts from it', 'current', logging.INFO
    )
    return name


def task_kind(checkpoint: str) -> Optional[str]:
    """``'detector'`` or ``'segmentor'`` where a file holds one alone, as mmdet or mmseg wrote it; None where it does
    not.

    Raises:
        UserError: The file cannot be loaded.
    """
    try:
        content = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    except FileNotFoundError as error:
        raise UserError(f'checkpoint not found: {checkpoint}') from error
    names = list(state_dict_of(content, checkpoint))
    if not any(name.startswith(MARK) for name in names):
        return None
    return 'segmentor' if any(name.startswith(SEGMENTATION_MARK) for name in names) else 'detector'


def forget_task_checkpoints(cfg: Config) -> None:
    """Take the checkpoints that task networks start from out of a config whose run goes on from a checkpoint of its
    own, which holds everything.

    The files may be gone by then, and a warning that weights are random would be wrong.
    """
    detector = (cfg.model.get('guide') or {}).get('detector')
    for network in [*(cfg.model.get('tasks') or {}).values(), *([detector] if isinstance(detector, dict) else [])]:
        init_cfg = network.get('init_cfg')
        if isinstance(init_cfg, dict) and str(init_cfg.get('type')).endswith('PretrainedTask'):
            network.init_cfg = None


def start_from_task_checkpoint(model: nn.Module, name: str, checkpoint: str) -> None:
    """Initialize a model of which only one task network is to be loaded, for a test without training.

    Raises:
        UserError: Other parts have something to learn, which would be random.
    """
    model = unwrap(model)
    others = _others((key for key, _ in model.named_parameters()), name)
    if others:
        raise UserError(
            f'{checkpoint} holds the task network {name!r} alone, and the rest of the model would be random:'
            + listing('weights without values', others)
            + '\nGive the checkpoint of the whole coupling, or test with a fuser that has no '
            'weights: --cfg-options model.fuser.type=AverageFuser'
        )
    with building(), without_init_listing(model):
        model.init_weights()


def _others(keys: Iterable[str], name: str) -> list:
    return [key for key in keys if not key.startswith(f'tasks.{name}.')]
