"""Finding the part of a network's weights that belongs to its classes, and taking it class by class.

Which entries these are is not read from their names: the network's config is built a second time with one class more,
and every entry whose shape changes depends on the classes. How the classes lie in it follows from the sizes.
"""

import copy
import inspect
from typing import Dict, List, NamedTuple, Optional, Sequence

import torch
from torch import Tensor, nn

from mmfusion.utils.errors import UserError

COORDINATES = 4
YOLO_LEADING = 5  # box and objectness stand before the classes in YOLOv3


class ClassAxis(NamedTuple):
    """How the classes lie along one axis of an entry: in ``blocks`` blocks of ``classes + extra``, or class by class.

    Attributes:
        axis: The axis.
        blocks: Anchors per place, or coordinates per class; 1 in most heads.
        extra: Places of a block that belong to no class, such as the background of a softmax.
        offset: Where in a block the classes begin.
        class_major: Each class has ``blocks`` neighboring places (box regression of two-stage heads), instead of each
            block having all classes.
    """

    axis: int
    blocks: int
    extra: int
    offset: int
    class_major: bool

    def size(self, classes: int) -> int:
        """Length of the axis for a number of classes."""
        return self.blocks * (classes + self.extra)

    def places(self, classes: int) -> Tensor:
        """(classes, blocks) places of every class along the axis."""
        number, block = torch.arange(classes)[:, None], torch.arange(self.blocks)[None]
        return (
            number * self.blocks + block if self.class_major else block * (classes + self.extra) + self.offset + number
        )

    def others(self, classes: int) -> Tensor:
        """Places that belong to no class, in order."""
        return torch.tensor(
            sorted(set(range(self.size(classes))) - set(self.places(classes).flatten().tolist())), dtype=torch.long
        )


def class_axes(network: nn.Module, classes: int) -> Dict[str, ClassAxis]:
    """Entries of a network's state that depend on its number of classes.

    Args:
        network: As :func:`mmfusion.models.scoped.build_scoped` built it, which keeps the config.
        classes: Its number of classes.

    Returns:
        dict: Entry -> how the classes lie in it.

    Raises:
        UserError: The config is not known, no entry depends on the classes, or the classes lie in one in a way that is
            not known.
    """
    cfg = getattr(network, 'built_from', None)
    if cfg is None:
        raise UserError(
            f'the classes of {type(network).__name__} cannot be matched by name, since its config is not known; '
            f'PretrainedTask '
            "belongs into the config of a task network (model.tasks.NAME.init_cfg) or of a guide's detector"
        )
    state, larger = network.state_dict(), _one_class_more(network, cfg, classes).state_dict()
    axes, strange = {}, []
    for key, value in state.items():
        if key not in larger or value.shape == larger[key].shape:
            continue
        axis = _axis(key, value.shape, larger[key].shape, classes)
        if axis is None:
            strange.append(
                f'{key}: {tuple(value.shape)} with {classes} classes, {tuple(larger[key].shape)} with {classes + 1}'
            )
        else:
            axes[key] = axis
    if strange:
        raise UserError(
            f'{type(network).__name__}: it is not known how the classes lie in these weights, '
            f'so they cannot be taken by name:\n    ' + '\n    '.join(strange)
        )
    if not axes:
        raise UserError(
            f'{type(network).__name__}: no weights depend on num_classes={classes}; does its head say num_classes in '
            f'the config?'
        )
    return axes


def _one_class_more(network: nn.Module, cfg: dict, classes: int) -> nn.Module:
    from mmfusion.models.scoped import build_scoped

    cfg = copy.deepcopy(cfg)
    _add_class(cfg, network, classes)
    with torch.random.fork_rng(devices=[]):
        return build_scoped(cfg)


def _add_class(cfg: object, module: object, classes: int) -> None:
    """Raise ``num_classes`` by one wherever a config, or the module built from it, says ``classes``."""
    if isinstance(cfg, (list, tuple)):
        parts = list(module) if isinstance(module, nn.ModuleList) and len(module) == len(cfg) else [None] * len(cfg)
        for item, part in zip(cfg, parts):
            _add_class(item, part, classes)
        return
    if not isinstance(cfg, dict):
        return
    if (
        cfg.get('num_things_classes') is not None
        and cfg['num_things_classes'] + cfg.get('num_stuff_classes', 0) == classes
    ):
        cfg['num_things_classes'] += 1
    elif cfg.get('num_classes', _default_classes(module) if 'type' in cfg else None) == classes:
        cfg['num_classes'] = classes + 1
        if cfg.get('out_channels') == classes:  # of segmentation heads, where it is the same number
            cfg['out_channels'] = classes + 1
    for key, value in cfg.items():
        if key != 'rpn_head':  # one class, always
            _add_class(value, getattr(module, key, None), classes)


def _default_classes(module: object) -> Optional[int]:
    """Number of classes of a module whose config leaves it to the default of its class; None for one that takes no such
    argument.
    """
    owners = [cls for cls in type(module).__mro__ if '__init__' in vars(cls)] if isinstance(module, nn.Module) else []
    takes = any('num_classes' in inspect.signature(cls.__init__).parameters for cls in owners)
    return getattr(module, 'num_classes', None) if takes else None


def _axis(key: str, shape: Sequence[int], larger: Sequence[int], classes: int) -> Optional[ClassAxis]:
    changed = [axis for axis, (now, then) in enumerate(zip(shape, larger)) if now != then]
    if len(shape) != len(larger) or len(changed) != 1:
        return None
    (axis,) = changed
    blocks, layer = larger[axis] - shape[axis], '.'.join(key.split('.')[:-1])
    if blocks < 1 or shape[axis] % blocks:
        return None
    extra = shape[axis] // blocks - classes
    if extra < 0:
        return None
    if axis and extra:  # inputs of a layer: point heads put the classes behind the features
        return ClassAxis(axis, blocks, extra, extra, False) if blocks == 1 else None
    if 'reg' in layer.split('.', 1)[-1].rsplit('.', 1)[-1] or 'bbox_pred' in layer:
        return ClassAxis(axis, blocks, 0, 0, True) if extra == 0 and blocks % COORDINATES == 0 else None
    if extra == YOLO_LEADING:
        return ClassAxis(axis, blocks, extra, YOLO_LEADING, False)
    return ClassAxis(axis, blocks, extra, 0, False) if extra <= 2 else None


def take_rows(theirs: Tensor, ours: Tensor, axis: ClassAxis, partners: Sequence[Optional[int]], classes: int) -> Tensor:
    """Bring an entry of a checkpoint to other classes.

    Args:
        theirs: Entry of the checkpoint, with ``classes`` classes.
        ours: Entry of the model; classes without a partner keep its values.
        axis: How the classes lie in both.
        partners: For each class of the model, its class in the checkpoint, or None.
        classes: Number of classes of the checkpoint.

    Returns:
        Tensor: Of the shape of ``ours``.

    Examples:
        >>> theirs, ours = torch.tensor([1., 2., 3., 9.]), torch.zeros(3)
        >>> take_rows(theirs, ours, ClassAxis(0, 1, 1, 0, False), [2, None], 3)  # the background stays the last
        tensor([3., 0., 9.])
    """
    result = ours.detach().clone().to(theirs.dtype)
    taken: List[int] = [index for index, partner in enumerate(partners) if partner is not None]
    to, source = (
        axis.places(len(partners))[taken].flatten(),
        axis.places(classes)[[partners[index] for index in taken]].flatten(),
    )
    to, source = torch.cat([to, axis.others(len(partners))]), torch.cat([source, axis.others(classes)])
    return result.index_copy_(axis.axis, to, theirs.index_select(axis.axis, source))
