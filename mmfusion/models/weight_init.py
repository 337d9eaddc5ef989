"""Starting from published weights, also on a machine without a network."""

from typing import List, Optional, Sequence, Union
from urllib.error import URLError

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from torch import nn

from mmfusion.registry import WEIGHT_INITIALIZERS
from mmfusion.utils.errors import UserError

from .pretrained import load_task_weights
from .pretrained.class_names import Synonyms
from .pretrained.read import MissingCheckpoint


@WEIGHT_INITIALIZERS.register_module()
class PretrainedIfReachable(PretrainedInit):
    """Load pretrained weights; when their *host* cannot be reached, say so loudly and train from random weights.

    Only an unreachable address is forgiven. A missing local file or a damaged checkpoint stays an error. As the
    ``init_cfg`` of a whole task network it must fit whole, as :class:`PretrainedTask`.

    Args:
        checkpoint: URL or path of the weights.
        prefix: Part of the checkpoint to take, such as ``'backbone.'``.
        map_location: Where tensors are loaded to.
    """

    def __call__(self, module: nn.Module) -> None:
        """Initialize ``module`` in place."""
        self._if_reachable(super().__call__, module)

    def load_whole(self, network: nn.Module) -> None:
        """Load a task network whole; see :func:`load_task_weights`."""
        self._if_reachable(lambda module: load_task_weights(module, self.checkpoint, prefix=self.prefix), network)

    def _if_reachable(self, load, module: nn.Module) -> None:
        try:
            load(module)
        except (URLError, ConnectionError, TimeoutError) as error:
            _warn_of_random_start(
                module,
                f'{type(module).__name__} starts from RANDOM weights: {self.checkpoint} could not be '
                f'reached ({error}). '
                'Results will be worse than published. Download the file and set `init_cfg.checkpoint` to its path.',
            )


@WEIGHT_INITIALIZERS.register_module()
class PretrainedTask(PretrainedInit):
    """Start a whole detector or segmentor from a checkpoint of mmdet, mmseg or mmfusion, with its classes matched by
    name.

    For ``model.tasks.NAME.init_cfg`` and for the ``init_cfg`` of a guide's detector. It runs after every other
    initialization of the network. A network with other classes than the checkpoint takes what belongs to its classes by
    name: a detector of COCO's 80 classes becomes one for ``('People', 'Car')``. Classes that the checkpoint does not
    know are initialized and named in the log. Loading executes nothing in the file.

    Args:
        checkpoint: Path or URL.
        classes: Names of the network's classes, in the order of the labels. None takes those of the training set, where
            the run has one; without any, the checkpoint must have the same classes.
        checkpoint_classes: Names of the checkpoint's classes, or of a data set that mmdet or mmseg lists the classes
            of, such as ``'cityscapes'``; None takes those that it states, or COCO's where it has 80 and states none.
        synonyms: ``dict(Lamp='traffic light', rider=['cyclist', 'person'], cart=None)``: beside the table
            :data:`SYNONYMS`, the class of the checkpoint to take for one of the network, None for none.
        prefix: Part of the checkpoint to take.
        if_absent: ``'error'``, or ``'random'`` to go on with a loud warning when the file is not there or its host
            cannot be reached: from random weights, and in the backbone from those that its own ``init_cfg`` names.
        map_location: Not used; for configs that replace ``type='Pretrained'``.

    Raises:
        UserError: The checkpoint does not fit (all that does not is listed), ``checkpoint_classes`` is the name of no
            data set, or see :func:`load_task_weights`.
        ValueError: ``if_absent`` is none of the two.
    """

    def __init__(
        self,
        checkpoint: str,
        classes: Optional[Sequence[str]] = None,
        checkpoint_classes: Union[Sequence[str], str, None] = None,
        synonyms: Optional[Synonyms] = None,
        prefix: Optional[str] = None,
        if_absent: str = 'error',
        map_location: str = 'cpu',
    ) -> None:
        super().__init__(checkpoint, prefix, map_location)
        if if_absent not in ('error', 'random'):
            raise ValueError(f"if_absent must be 'error' or 'random', got {if_absent!r}")
        self.classes, self.checkpoint_classes, self.synonyms, self.if_absent = (
            classes,
            checkpoint_classes,
            synonyms,
            if_absent,
        )

    def __call__(self, module: nn.Module) -> None:
        """Initialize ``module`` in place."""
        self.load_whole(module)

    def load_whole(self, network: nn.Module) -> None:
        """Load a task network whole; see :func:`load_task_weights`."""
        classes, known = self.classes, getattr(network, 'class_names', None)
        if isinstance(classes, str):
            classes = (classes,)
        if classes is not None and known is not None and tuple(classes) != tuple(known):
            raise UserError(
                f'init_cfg of {type(network).__name__} names the classes ({", ".join(classes)}), '
                f'the data set has ({", ".join(known)}), '
                'in this order; leave classes out of init_cfg, or give the same'
            )
        names = self.checkpoint_classes
        if isinstance(names, str):
            names = _classes_of(names, segmentation=hasattr(network, 'decode_head'))
        try:
            load_task_weights(
                network, self.checkpoint, known if classes is None else classes, names, self.synonyms, self.prefix
            )
        except (URLError, ConnectionError, TimeoutError, MissingCheckpoint) as error:
            if self.if_absent == 'error':
                raise
            backbone = getattr(getattr(network, 'backbone', None), 'init_cfg', None)
            kept = (
                f' but for its backbone ({backbone["checkpoint"]})'
                if isinstance(backbone, dict) and 'checkpoint' in backbone
                else ''
            )
            reason = (
                str(error)
                if isinstance(error, MissingCheckpoint)
                else (
                    f'{self.checkpoint} could not be reached ({error}). Results will be worse than from it. '
                    f'Download the file and set '
                    '`init_cfg.checkpoint` to its path, or `init_cfg=None` if random weights are meant'
                )
            )
            _warn_of_random_start(network, f'{type(network).__name__} starts from RANDOM weights{kept}: {reason}')


def _warn_of_random_start(module: nn.Module, text: str) -> None:
    """Say it in the log, and leave it with the module for the summary at the end of a training."""
    module.random_start = text
    print_log(text, logger='current', level=30)


def random_starts(model: nn.Module) -> List[str]:
    """A sentence for each part of a model that starts from random weights because published ones are not there."""
    return list(dict.fromkeys(module.random_start for module in model.modules() if hasattr(module, 'random_start')))


def _classes_of(dataset: str, segmentation: bool) -> Sequence[str]:
    """Names of the classes of a data set, as mmseg or mmdet lists them.

    Raises:
        UserError: There is no such data set.
    """
    if segmentation:
        from mmseg.utils import get_classes
    else:
        from mmdet.evaluation import get_classes
    try:
        return tuple(get_classes(dataset))
    except ValueError as error:
        raise UserError(
            f'checkpoint_classes={dataset!r} in init_cfg is no data set that {"mmseg" if segmentation else "mmdet"} '
            f'knows; give the '
            'names of the classes, in order'
        ) from error
