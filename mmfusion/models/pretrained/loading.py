"""Loading a checkpoint into a task network: whole, or an error that lists what does not fit."""

import logging
from collections import Counter, OrderedDict
from typing import Dict, List, Optional, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmfusion.utils.errors import UserError
from mmfusion.utils.state_dict import compare, listing

from .class_names import COCO_CLASSES, Synonyms, match_classes
from .class_rows import ClassAxis, class_axes, take_rows
from .read import TaskWeights, read_task_weights

COUNTER = 'num_batches_tracked'  # absent in files of old versions, and without effect


def load_task_weights(
    network: nn.Module,
    checkpoint: str,
    classes: Optional[Sequence[str]] = None,
    checkpoint_classes: Optional[Sequence[str]] = None,
    synonyms: Optional[Synonyms] = None,
    prefix: Optional[str] = None,
) -> None:
    """Load the weights of a detector or segmentor, whole.

    With ``classes``, what belongs to the classes (rows of the classification layers, boxes by class, label embeddings)
    is taken class by class by name; classes that the checkpoint does not know keep the values that the network has.
    Without, the checkpoint must have the network's classes.

    Args:
        network: The network, after its own initialization.
        checkpoint: File or address; see :func:`read_task_weights`.
        classes: Names of the network's classes, in the order of its labels.
        checkpoint_classes: Names of the checkpoint's classes. None takes those that the file states, or COCO's when it
            has 80 and states none.
        synonyms: See :func:`match_classes`.
        prefix: Part of the checkpoint to take.

    Raises:
        UserError: The checkpoint does not fit, and all that does not is listed; the network is as it was.
    """
    weights = read_task_weights(checkpoint, prefix, segmentation=hasattr(network, 'decode_head'))
    state = weights.state
    if classes is not None:
        state = _by_class(network, weights, tuple(classes), checkpoint_classes, synonyms, checkpoint)
    check_fit(network, state, checkpoint, hint=classes is None)
    network.load_state_dict(state, strict=False)
    check_loaded(network, state, checkpoint)
    print_log(f'{type(network).__name__}: {len(state)} weights loaded from {checkpoint}', 'current')


def _by_class(
    network: nn.Module,
    weights: TaskWeights,
    classes: Sequence[str],
    given: Optional[Sequence[str]],
    synonyms: Optional[Synonyms],
    checkpoint: str,
) -> Dict[str, Tensor]:
    axes = class_axes(network, len(classes))
    known = _checkpoint_classes(weights, given, axes, checkpoint, hasattr(network, 'decode_head'))
    partners = match_classes(classes, known, synonyms)
    if all(partner is None for partner in partners):
        raise UserError(
            f'{checkpoint} knows none of the classes {", ".join(classes)}; it knows {", ".join(known)}. '
            f'Say which are the same with '
            "synonyms=dict(NAME='name in the checkpoint') in init_cfg"
        )
    own, state = network.state_dict(), OrderedDict(weights.state)
    state._metadata = getattr(weights.state, '_metadata', OrderedDict())
    for key, axis in axes.items():
        theirs = state.get(key)
        expected = list(own[key].shape)
        expected[axis.axis] = axis.size(len(known))
        if theirs is not None and list(theirs.shape) == expected:  # otherwise the check for fit lists it
            state[key] = take_rows(theirs, own[key].cpu(), axis, partners, len(known))
    pairs = ', '.join(
        f'{name} from {known[partner]}' for name, partner in zip(classes, partners) if partner is not None
    )
    print_log(
        f'{type(network).__name__}: classes of {checkpoint} taken by name in {len(axes)} weights: {pairs}', 'current'
    )
    unknown = [name for name, partner in zip(classes, partners) if partner is None]
    if unknown:
        print_log(
            f'{type(network).__name__}: {checkpoint} does not know {", ".join(unknown)}: initialized at random (if it '
            f'has them under '
            "another name, say synonyms=dict(NAME='name in the checkpoint') in init_cfg)",
            'current',
            logging.WARNING,
        )
    return state


def _checkpoint_classes(
    weights: TaskWeights,
    given: Optional[Sequence[str]],
    axes: Dict[str, ClassAxis],
    checkpoint: str,
    segmentation: bool,
) -> Sequence[str]:
    """Names of the classes of the checkpoint, as many as its layers have."""
    counts = {
        key: weights.state[key].shape[axis.axis] / axis.blocks - axis.extra
        for key, axis in axes.items()
        if key in weights.state and weights.state[key].dim() > axis.axis
    }
    if not counts:
        raise UserError(
            f'{checkpoint} has none of the weights that depend on the classes ({", ".join(axes)}); '
            f'it is a checkpoint of another network'
        )
    number = Counter(counts.values()).most_common(1)[0][0]
    found = f'{checkpoint} has {number:g} classes (by {next(key for key, count in counts.items() if count == number)})'
    names = given or weights.classes
    if names is None and number == len(COCO_CLASSES) and not segmentation:
        print_log(f"{checkpoint} names no classes and has 80: taken for COCO's", 'current')
        return COCO_CLASSES
    if names is None:
        raise UserError(
            f'{found} and does not name them; give their names, in order, as checkpoint_classes=(...) in init_cfg'
        )
    if len(names) != number:
        raise UserError(
            f'{found}, but {len(names)} names for them ({", ".join(names)}); give the right names, in order, as '
            'checkpoint_classes=(...) in init_cfg'
        )
    return tuple(names)


def check_fit(network: nn.Module, state: Dict[str, Tensor], checkpoint: str, hint: bool = False) -> None:
    """Check that a state has all entries of a network in its shapes; entries beyond those are named in the log.

    Raises:
        UserError: It has not; all faults are listed.
    """
    own = network.state_dict()
    misfit = compare(state, own)
    missing, unexpected = [key for key in misfit.missing if not key.endswith(COUNTER)], misfit.unexpected
    shapes = [
        f'{key}: checkpoint {tuple(state[key].shape)}, network {tuple(own[key].shape)}' for key in misfit.mismatched
    ]
    if missing or shapes:
        remedy = '\nUse the config that the checkpoint was trained with'
        if hint and shapes:
            remedy += (
                "; for a network with other classes, init_cfg=dict(type='mmfusion.PretrainedTask', checkpoint=..., "
                'classes=(...)) takes them by name'
            )
        raise UserError(
            f'{checkpoint} does not fit {type(network).__name__}.'
            + listing('missing in the checkpoint', missing)
            + listing('of another shape', shapes)
            + listing('unknown to the network', unexpected)
            + remedy
            + '.'
        )
    if unexpected:
        print_log(
            f'{type(network).__name__}: left out of {checkpoint}, unknown to the '
            f'network:{listing("entries", unexpected)}',
            'current',
            logging.WARNING,
        )


def differing(network: nn.Module, state: Dict[str, Tensor]) -> List[str]:
    """Entries that a network and a state share by name and shape, and that differ in value."""
    own = network.state_dict()
    return [
        key
        for key, value in state.items()
        if key in own
        and own[key].shape == value.shape
        and not torch.equal(own[key].cpu(), value.to(own[key].dtype).cpu())
    ]


def check_loaded(network: nn.Module, state: Dict[str, Tensor], checkpoint: str) -> None:
    """Check that a network holds what a state says.

    Raises:
        UserError: It does not, though it was loaded: something in the network changes what it is given.
    """
    changed = differing(network, state)
    if changed:
        raise UserError(
            f'{checkpoint} was loaded into {type(network).__name__}, which holds other values '
            f'afterwards:{listing("entries", changed)}'
        )
