"""A detector or segmentor of mmdet or mmseg, unchanged, that looks at fused images."""

from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmfusion.models.layers.channels_last import channels_last
from mmfusion.models.pretrained import pretrained_last
from mmfusion.models.scoped import build_scoped
from mmfusion.structures import FusionDataSample
from mmfusion.utils.errors import InputError, InputTypeError

from .steps.task_labels import PADDED_BY_PIPELINE, check_labels, fit_maps, set_border

SHAPE_FIELDS = ('pad_shape', 'batch_input_shape')
PREDICTION_FIELDS = ('pred_instances', 'pred_sem_seg', 'pred_panoptic_seg', 'pred_depth_map', 'seg_logits')
#: Backbones and heads that are tried to give the same with channels innermost in memory, which is faster on a CPU.
#: Other networks may take views of their features that this layout does not allow, and keep the default one.
LAYOUT_TRIED = (
    ('CSPDarknet', 'CSPNeXt', 'MobileNetV2'),
    ('YOLOXHead', 'RTMDetHead', 'RTMDetSepBNHead', 'SegformerHead', 'FCNHead'),
)
#: What of a task network may be frozen; see :class:`TaskNetwork`.
FREEZE = ('all', 'weights', 'all_but_head')
FrozenTasks = Union[Sequence[str], Dict[str, str]]


def straight_through_clamp(image: Tensor) -> Tensor:
    """Clamp to [0, 1] in the forward pass, pass the gradient unchanged.

    The task network then sees what would be saved as a picture, while pixels that the fuser drove out of range still
    learn.

    Examples:
        >>> x = torch.tensor([-1., .5, 2.], requires_grad=True)
        >>> straight_through_clamp(x).tolist()
        [0.0, 0.5, 1.0]
        >>> torch.autograd.grad(straight_through_clamp(x).sum(), x)[0].tolist()
        [1.0, 1.0, 1.0]
    """
    return image + (image.clamp(0, 1) - image).detach()


def count_classes(network: Optional[torch.nn.Module]) -> Optional[int]:
    """Number of classes in the head of a detector or segmentor, None when it does not say.

    An RPN says nothing: it takes objects of all classes for one.
    """
    from mmdet.models.detectors import RPN

    if isinstance(network, RPN):
        return None
    owner = getattr(network, 'roi_head', None) or network
    head = getattr(owner, 'bbox_head', None) or getattr(owner, 'decode_head', None)
    if isinstance(head, torch.nn.ModuleList):  # cascades
        head = head[-1]
    number = getattr(head, 'num_classes', None)
    return number if isinstance(number, int) else None


class TaskNetwork(BaseModule):
    """Feed fused images to a task network through the network's own data preprocessor.

    The preprocessor (channel order, mean and std, padding, batch augmentation) works on tensors with gradient, so the
    task's loss reaches the fused image. Labels are copied first: what the network does to them stays with it.

    Args:
        network: Config of an mmdet detector or mmseg segmentor, with a scoped type.
        frozen: What stays as it is while the loss still reaches the fused image. ``'all'``: the network is in
            evaluation mode, so that neither weights nor batch norm statistics change. ``'weights'``: batch norm
            statistics alone adapt to fused images. ``'all_but_head'``: the heads learn (children whose name ends in
            ``head``), everything before them is in evaluation mode. None: all of it learns.
        init_cfg: mmengine initialization config.

    Raises:
        TypeError: ``network`` is neither a detector nor a segmentor.
        ValueError: ``frozen`` is none of these, or the network has no head by name.
    """

    def __init__(self, network: dict, frozen: Optional[str] = None, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        # Networks are fed as an image file read by OpenCV (BGR) would be, unless their config says they expect RGB
        # files.
        self.takes_rgb = (
            bool((network.get('data_preprocessor') or {}).get('rgb_to_bgr', False))
            if isinstance(network, dict)
            else False
        )
        self.network = build_scoped(network)
        self.kind = self._kind(self.network)
        preprocessor = self.network.data_preprocessor
        if (
            self.kind == 'segmentation'
            and getattr(preprocessor, 'size', 0) is None
            and getattr(preprocessor, 'size_divisor', 0) is None
        ):
            preprocessor.size_divisor = (
                1  # mmseg demands one of the two; images of a batch are then padded to the largest
            )
        if getattr(preprocessor, 'pad_size_divisor', None) == 1:
            preprocessor.pad_size_divisor = PADDED_BY_PIPELINE.get(type(self.network).__name__, 1)
        if frozen is not None and frozen not in FREEZE:
            raise ValueError(f'what of a task network is frozen must be one of {FREEZE}, got {frozen!r}')
        self.frozen = frozen
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def _frozen_parts(self) -> List[torch.nn.Module]:
        if self.frozen is None:
            return []
        if self.frozen != 'all_but_head':
            return [self.network]
        names = [name for name, _ in self.network.named_children()]
        if not any(name.endswith('head') for name in names):
            raise InputError(
                f'{type(self.network).__name__} has no head by name (its parts are {names}): '
                f"freeze 'all' or 'weights' of it"
            )
        return [part for name, part in self.network.named_children() if not name.endswith('head')]

    def train(self, mode: bool = True) -> 'TaskNetwork':
        """Switch to training or evaluation; what is frozen stays in evaluation, except for batch norm statistics that
        are to adapt.
        """
        super().train(mode)
        if self.frozen != 'weights':
            for part in self._frozen_parts():
                part.eval()
        return self

    def init_weights(self) -> None:
        """Initialize the network; weights that its ``init_cfg`` names are loaded last, whole, and checked."""
        with pretrained_last(self.network):
            super().init_weights()

    @staticmethod
    def _kind(network: torch.nn.Module) -> str:
        from mmdet.models.detectors.base import BaseDetector
        from mmseg.models.segmentors.base import BaseSegmentor

        if isinstance(network, BaseDetector):
            return 'detection'
        if isinstance(network, BaseSegmentor):
            return 'segmentation'
        raise InputTypeError(
            f'a task network must be an mmdet detector or an mmseg segmentor, got {type(network).__name__}'
        )

    def preprocess(self, image: Tensor, data_samples: Sequence[FusionDataSample], training: bool):
        """Turn fused images into the network's input.

        Args:
            image: (N, 1 or 3, H, W), RGB or gray, nominal [0, 1], padded to the batch's size.
            data_samples: N samples with ``img_shape``.
            training: Whether training-time padding and batch augmentation apply.

        Returns:
            tuple: The network's normalized batch and copies of the samples with its meta information.
        """
        image = straight_through_clamp(image.float()) * 255
        if image.shape[1] == 1:
            image = image.expand(-1, 3, -1, -1)
        elif not self.takes_rgb:
            image = image.flip(1)
        # Without the batch's padding: the network pads as its own preprocessor says.
        images = [
            picture[:, : sample.img_shape[0], : sample.img_shape[1]] for picture, sample in zip(image, data_samples)
        ]
        copies = [sample.copy_labels() for sample in data_samples]
        for copy in copies:
            set_border(copy)
            if training:
                fit_maps(copy, self.kind)
            for name in SHAPE_FIELDS:  # those of the fusion's batch: the network pads anew
                copy.pop(name, None)
        with self._large_enough(images, training):
            data = self.network.data_preprocessor(dict(inputs=images, data_samples=copies), training)
        for copy in data['data_samples']:  # heads measure by them; mmseg sets none in tests
            for name in SHAPE_FIELDS:
                if name not in copy:
                    copy.set_metainfo({name: tuple(data['inputs'].shape[-2:])})
        inputs = data['inputs']
        if self._channels_last and not torch.is_autocast_enabled(inputs.device.type):
            inputs = channels_last(inputs)
        return inputs, data['data_samples']

    @property
    def _channels_last(self) -> bool:
        """Whether the network is known to work with channels innermost in memory."""
        network, (backbones, heads) = self.network, LAYOUT_TRIED
        head = getattr(network, 'bbox_head' if self.kind == 'detection' else 'decode_head', None)
        return type(getattr(network, 'backbone', None)).__name__ in backbones and type(head).__name__ in heads

    @contextmanager
    def _large_enough(self, images: Sequence[Tensor], training: bool) -> Iterator[None]:
        """Let images larger than the fixed ``size`` of a segmentor's preprocessor, which cannot stack them with smaller
        ones, set the size.
        """
        preprocessor = self.network.data_preprocessor
        size = getattr(preprocessor, 'size', None) if training and self.kind == 'segmentation' else None
        if size is None:
            yield
            return
        preprocessor.size = tuple(max(size[axis], *(image.shape[1 + axis] for image in images)) for axis in (0, 1))
        try:
            yield
        finally:
            preprocessor.size = size

    def loss(self, image: Tensor, data_samples: Sequence[FusionDataSample]) -> Dict[str, Union[Tensor, List[Tensor]]]:
        """Losses of the network on fused images, with gradient to ``image``; arguments as in :meth:`preprocess`.

        Raises:
            ValueError: The samples lack the labels that the task needs.
        """
        for sample in data_samples:
            check_labels(self.network, self.kind, sample)
        inputs, data_samples = self.preprocess(image, data_samples, training=True)
        return self.network(inputs, data_samples, mode='loss')

    def predict(self, image: Tensor, data_samples: Sequence[FusionDataSample]) -> Sequence[FusionDataSample]:
        """Write the network's predictions into ``data_samples`` and return them; arguments as in :meth:`preprocess`."""
        if self.kind == 'segmentation' and len({tuple(sample.img_shape[:2]) for sample in data_samples}) > 1:
            # mmseg tests images of one size only
            for index, sample in enumerate(data_samples):
                self.predict(image[index : index + 1], [sample])
            return data_samples
        inputs, copies = self.preprocess(image, data_samples, training=False)
        for sample, result in zip(data_samples, self.network(inputs, copies, mode='predict')):
            for name in PREDICTION_FIELDS:
                if name in result:
                    setattr(sample, name, getattr(result, name))
        return data_samples


def what_is_frozen(frozen_tasks: FrozenTasks, tasks: Sequence[str]) -> Dict[str, str]:
    """What of each task network is frozen, by the name of the task; those that learn as a whole are missing.

    Args:
        frozen_tasks: Names of tasks that are frozen as a whole, or a dict.
        tasks: Names of all tasks.

    Raises:
        ValueError: A name is none of the tasks, or ``frozen_tasks`` is a bare string.

    Examples:
        >>> what_is_frozen(('det', ), ('det', 'seg'))
        {'det': 'all'}
    """
    if isinstance(frozen_tasks, str):
        raise InputError(
            f"frozen_tasks must be names of tasks, ({frozen_tasks!r}, ), or a dict, dict({frozen_tasks}='all'); "
            f'got a bare string'
        )
    frozen = dict(frozen_tasks) if isinstance(frozen_tasks, dict) else dict.fromkeys(frozen_tasks or (), 'all')
    unknown = set(frozen) - set(tasks)
    if unknown:
        raise InputError(f'frozen_tasks names {sorted(unknown)}, but the tasks are {sorted(tasks)}')
    return frozen
