"""Reading the checkpoint of a task network, as mmdet, mmseg or mmfusion wrote it."""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple
from urllib.error import URLError

from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmfusion.utils.errors import UserError
from mmfusion.utils.state_dict import state_dict_of

TASK_PREFIX = re.compile(r'(tasks\.\w+\.network\.)')


class MissingCheckpoint(UserError):
    """The file of a checkpoint is not there."""


class TaskWeights(NamedTuple):
    """Weights of a task network.

    Attributes:
        state: Tensors by the names of the network, with the ``_metadata`` of the file.
        classes: Names of the classes that the checkpoint was trained on; None when it does not say.
    """

    state: Dict[str, Tensor]
    classes: Optional[Tuple[str, ...]]


def read_task_weights(checkpoint: str, prefix: Optional[str] = None, segmentation: bool = False) -> TaskWeights:
    """Read a checkpoint from a file or an address, without executing anything in it.

    A prefix ``module.`` is taken off, and so is ``tasks.NAME.network.`` when the file is a coupling's that has one
    task.

    Args:
        checkpoint: Path, URL, or another address that mmengine knows (``open-mmlab://...``).
        prefix: Part of the checkpoint to take; it is taken off the names.
        segmentation: Whether the classes of class maps are asked for, where a file states both these and those of
            boxes.

    Raises:
        MissingCheckpoint: There is no such file.
        UserError: It holds no weights or would have to run code, nothing has the prefix, or it is a coupling's with
            several tasks and no ``prefix`` says which.
        urllib.error.URLError: The address cannot be reached.
    """
    try:
        content = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    except FileNotFoundError as error:
        raise MissingCheckpoint(
            f'checkpoint not found: {checkpoint}; get the file, give its path as init_cfg.checkpoint, or set '
            'init_cfg=None to start from random weights'
        ) from error
    state = state_dict_of(content, checkpoint)
    if prefix is None:
        prefixes = {found.group(1) if (found := TASK_PREFIX.match(key)) else '' for key in state} - {''}
        if len(prefixes) > 1:
            raise UserError(
                f'{checkpoint} holds the task networks {", ".join(sorted(prefixes))}; say which with prefix=... in '
                f'init_cfg'
            )
        prefix = prefixes.pop() if prefixes else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    metadata = getattr(state, '_metadata', {})
    chosen = OrderedDict((key[len(prefix) :], value) for key, value in state.items() if key.startswith(prefix))
    if not chosen:
        raise UserError(
            f'{checkpoint} holds nothing under {prefix!r}; its names begin with '
            f'{", ".join(sorted({k.split(".")[0] for k in state}))}'
        )
    chosen._metadata = (
        {key[len(prefix) :]: value for key, value in metadata.items() if f'{key}.'.startswith(prefix)}
        if metadata
        else OrderedDict()
    )
    return TaskWeights(chosen, _classes(content, segmentation))


def can_be_read(checkpoint: str) -> bool:
    """Whether a checkpoint is there: a file, or an address that can be reached, whose content then lies in the
    cache.
    """
    if '://' not in str(checkpoint):
        return Path(checkpoint).exists()
    try:
        CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    except (URLError, ConnectionError, TimeoutError):
        return False
    return True


def _classes(content: object, segmentation: bool) -> Optional[Tuple[str, ...]]:
    """Class names from the meta information of mmdet 2 and 3, of mmseg 0 and 1, and of mmfusion."""
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return None
    dataset = meta.get('dataset_meta')
    for owner in (dataset if isinstance(dataset, dict) else {}, meta):
        for key in (*(['seg_classes'] if segmentation else []), 'classes', 'CLASSES'):
            names = owner.get(key)
            if isinstance(names, str):
                return (names,)
            if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
                return tuple(names)
    return None
