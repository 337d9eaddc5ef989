"""Base of all couplings: the parts, fusing with guidance and color, and named losses."""

from abc import abstractmethod
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmengine.model import BaseModel, ModuleDict
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.func import functional_call

from mmfusion.models.fusers.base import build_fuser
from mmfusion.models.layers import postprocess, restore_color, split_color
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample, Window, fusion_task
from mmfusion.utils.errors import InputError
from mmfusion.utils.renamed import FORMER_TASK, FUSION_TASK, name_fusion_task, warn_of_former_task, warn_renamed

from .steps.image_sizes import (
    Size,
    SizeGroup,
    aligned_guidance,
    average,
    padded_sizes,
    put_together,
    size_groups,
    valid_groups,
)
from .steps.loss_check import LossCheck
from .steps.losses import Losses, loss_context, prefixed, valid_windows
from .steps.state import trainable
from .task_network import FrozenTasks, TaskNetwork, what_is_frozen

RESERVED_NAMES = ('fusion', 'fuser', 'guide')


class Fusion(NamedTuple):
    """Everything known after fusing one batch.

    Attributes:
        image: (N, 3 or 1, H, W), RGB when a source is RGB, else gray; nominal [0, 1], clamped where the coupling says
            so.
        fused: The fuser's own output, in the fuser's space (one channel for a luminance fuser).
        first: First source in the fuser's space.
        second: Second source in the fuser's space.
        losses: Auxiliary losses of the fuser.
        sizes: True (height, width) of each picture where some are padded, else None. What lies in the padding means
            nothing.
    """

    image: Tensor
    fused: Tensor
    first: Tensor
    second: Tensor
    losses: Dict[str, Tensor]
    sizes: Optional[Tuple[Size, ...]] = None

    def parts(self, windows: Optional[Sequence[Optional[Window]]] = None) -> 'List[Tuple[SizeGroup, Fusion]]':
        """The pictures by size, without padding.

        Args:
            windows: What counts of each picture, None for all of it; those with too small a window are left out.
        """
        number, full = len(self.image), tuple(self.image.shape[-2:])
        sizes = self.sizes or [full] * number
        return [
            (
                group,
                self._replace(
                    **{name: group.of(getattr(self, name), number) for name in ('image', 'fused', 'first', 'second')},
                    sizes=None,
                ),
            )
            for group in (size_groups(sizes) if windows is None else valid_groups(sizes, windows))
        ]


class BaseCoupling(BaseModel):
    """A trainable model of one fuser, its fusion loss, an optional guide and any number of task networks.

    A batch whose samples name one fusion task is fused as that task by a fuser that has several, and its fusion losses
    get the name as ``fusion_task``.

    Subclasses say by which rule the task losses reach the fuser, in :meth:`loss` (and in ``train_step`` where they need
    more than one optimizer).

    Args:
        fuser: Config of a fuser.
        fusion_loss: Configs of fusion losses by name; the term ``grad`` is logged as ``fusion.loss_grad``.
        tasks: Configs of mmdet detectors or mmseg segmentors by name, with scoped types (``mmdet.RTMDet``).
        task_weights: Factor of each task's losses, 1 where none is given.
        guide: Config of a guide, whose guidance goes to the fuser.
        guide_weight: Factor of the guide's own losses. 0 freezes the guide: it runs without gradient.
        frozen_tasks: Names of the tasks whose networks stay exactly as loaded, ``('det', )``, while their loss still
            reaches the fuser; or by name what is frozen, ``dict(det='all_but_head')``, see :class:`TaskNetwork`.
        clamp: Clamp the fused image to [0, 1] before task networks see it, as it is when it is saved. A fuser with an
            output without bounds needs this: most task networks do not mind a contrast far too large, so nothing else
            would keep their gradient from raising it. Fusion losses see the image as it is, and pull it back.
        data_preprocessor: Config of the data preprocessor, :class:`FusionDataPreprocessor` by default.
        init_cfg: mmengine initialization config.

    Attributes:
        fuser_options: Keyword arguments for every call of the fuser, such as ``dict(fusion_task='multi_focus')``; empty
            at first.
        averages_gradients: What a class states of itself: its ``train_step`` averages gradients over processes. Loops
            then call it past the wrapper for distributed training; otherwise they call the wrapper, which averages the
            gradients of :meth:`loss`.
        precision: The lowest precision in which it trains: ``'float16'`` (with a loss scale), ``'bfloat16'`` or
            ``'float32'``.
        loop: Name of the loop that runs its training steps, None where any loop does.
        task_network: Class that the task networks are built as.

    Raises:
        ValueError: A task carries a reserved name, one with "loss" in it or no identifier, or a weight or
            ``frozen_tasks`` names no task.
    """

    averages_gradients: bool = False
    precision: str = 'float16'
    loop: Optional[str] = None
    task_network = TaskNetwork

    def __init__(
        self,
        fuser: dict,
        fusion_loss: Optional[Dict[str, dict]] = None,
        tasks: Optional[Dict[str, dict]] = None,
        task_weights: Optional[Dict[str, float]] = None,
        guide: Optional[dict] = None,
        guide_weight: float = 1.0,
        clamp: bool = False,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
        frozen_tasks: FrozenTasks = (),
    ) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor or dict(type='mmfusion.FusionDataPreprocessor'), init_cfg=init_cfg
        )
        tasks = dict(tasks or {})
        for name in tasks:
            # mmengine adds up every logged value whose name contains "loss"
            if name in RESERVED_NAMES or not name.isidentifier() or 'loss' in name:
                raise ValueError(
                    f'{name!r} cannot name a task: use an identifier without "loss", other than '
                    f'{", ".join(RESERVED_NAMES)}'
                )
        unknown = set(task_weights or {}) - set(tasks)
        if unknown:
            raise ValueError(f'task_weights names {sorted(unknown)}, but the tasks are {sorted(tasks)}')
        self.task_weights = {name: float((task_weights or {}).get(name, 1.0)) for name in tasks}
        frozen = what_is_frozen(frozen_tasks, tasks)
        self.guide_weight = float(guide_weight)
        self.clamp = clamp
        self.fuser_options: Dict[str, object] = {}
        self.loss_check = LossCheck()
        self.data_preprocessor.register_forward_hook(self.loss_check.see)
        self.fuser = build_fuser(fuser)
        self.fusion_loss = ModuleDict({name: MODELS.build(cfg) for name, cfg in (fusion_loss or {}).items()})
        warn_of_former_task(self.fusion_loss.values())
        self.guide = MODELS.build(guide) if guide else None
        self.tasks = ModuleDict({name: self.task_network(cfg, frozen.get(name)) for name, cfg in tasks.items()})

    def train(self, mode: bool = True) -> 'BaseCoupling':
        """Switch to training or evaluation; a guide with weight 0 stays in evaluation, so that its batch norm
        statistics stay too.
        """
        super().train(mode)
        if self.guide is not None and self.guide_weight == 0:
            self.guide.eval()
        return self

    def set_epoch(self, epoch: int) -> None:
        """Hand the epoch, counted from 0, to every part whose losses depend on it; ``RuntimeInfoHook`` calls this."""
        for name, module in self.named_modules():
            if name and hasattr(module, 'set_epoch'):
                module.set_epoch(epoch)

    def learning_parts(self) -> Dict[str, nn.Module]:
        """The parts that learn, by the key of their optimizer (``PartOptimWrapperConstructor``); a guide of weight 0
        does not.
        """
        return {
            name: part
            for name, part in self.named_children()
            if trainable(part) and (name != 'guide' or self.guide_weight > 0)
        }

    # The three modes of mmengine -------------------------------------------------------------------------------------

    def forward(
        self, inputs: Dict[str, Tensor], data_samples: Optional[Sequence[FusionDataSample]] = None, mode: str = 'tensor'
    ):
        """Run one of mmengine's modes.

        Args:
            inputs: ``first`` and ``second``, each (N, 1 or 3, H, W) float in [0, 1], as the data preprocessor makes
                them.
            data_samples: N samples; needed in modes ``loss`` and ``predict``. They name the fusion task.
            mode: ``tensor`` returns the fused images (N, 1 or 3, H, W), ``predict`` the samples with ``fused`` and the
                tasks' predictions, ``loss`` a dict of losses.

        Raises:
            ValueError: The mode is unknown, or samples are missing.
        """
        if mode == 'tensor':
            return self.fuse(inputs, data_samples=data_samples).image
        if mode not in ('loss', 'predict'):
            raise ValueError(f"mode must be 'tensor', 'predict' or 'loss', got {mode!r}")
        if data_samples is None:
            raise ValueError(f"mode {mode!r} needs data_samples; use mode='tensor' to fuse without them")
        return self.loss(inputs, data_samples) if mode == 'loss' else self.predict(inputs, data_samples)

    @abstractmethod
    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of one training batch, by prefixed name; arguments as in :meth:`forward`."""

    def predict(
        self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]
    ) -> Sequence[FusionDataSample]:
        """Fuse and run every task; arguments as in :meth:`forward`.

        Returns:
            The samples, with ``fused`` cropped to ``img_shape`` and the predictions in original image coordinates.
        """
        image = self.fuse(inputs, data_samples=data_samples).image
        for picture, sample in zip(image, data_samples):
            height, width = sample.img_shape
            sample.fused = PixelData(data=picture[:, :height, :width].float())
        self.predict_tasks(image, data_samples)
        return data_samples

    def predict_tasks(self, image: Tensor, data_samples: Sequence[FusionDataSample]) -> None:
        """Write the predictions of every task on the fused ``image`` (N, 1 or 3, H, W) into the samples."""
        for task in self.tasks.values():
            task.predict(image, data_samples)

    def parse_losses(self, losses: Losses) -> 'tuple[Tensor, Dict[str, Tensor]]':
        """Total and values to log, as mmengine has it.

        Raises:
            NonFiniteError: The total is NaN or infinite.
        """
        total, log = super().parse_losses(losses)
        self.loss_check(total, log)
        return total, log

    # Parts ----------------------------------------------------------------------------------------------------------

    def fuse(
        self,
        inputs: Dict[str, Tensor],
        guidance: Optional[Dict[str, Tensor]] = None,
        state: Optional[Dict[str, Tensor]] = None,
        data_samples: Optional[Sequence[FusionDataSample]] = None,
    ) -> Fusion:
        """Fuse a batch, with guidance and color handled.

        Where pictures were padded to one size (``inputs['sizes']``), those of each size are fused apart and without the
        padding, so that a fused picture does not depend on its neighbors. In training a batch of several sizes runs as
        one, since gates and batch norms want all of it: the fuser then sees the padding, which is a reflection of each
        picture.

        Args:
            inputs: As in :meth:`forward`.
            guidance: Guidance that is already known, as :meth:`guidance` gives it; the guide runs only without it, and
                only as far as fusion needs.
            state: Parameters and buffers of the fuser by name, in place of its own.
            data_samples: N samples, of which a fuser with several fusion tasks learns that of the batch.

        Raises:
            ValueError: The fuser depends on the fusion task, and the batch holds several.
        """
        options = self._options(inputs, data_samples)
        sizes = padded_sizes(inputs)
        groups = size_groups(sizes or ())
        if sizes is None or (len(groups) > 1 and self.fuser.training):
            guidance = self.guidance(inputs) if guidance is None else guidance
            return self._fuse(inputs['first'], inputs['second'], {**options, **guidance}, state)._replace(sizes=sizes)
        number, full, parts = len(sizes), tuple(inputs['first'].shape[-2:]), []
        for group in groups:
            first, second = (group.of(inputs[name], number) for name in ('first', 'second'))
            known = (
                self._guide(first, second)
                if guidance is None
                else {key: group.of(maps, number) for key, maps in guidance.items()}
            )
            parts.append(self._fuse(first, second, {**options, **known}, state))
        images = {
            name: put_together(groups, [getattr(part, name) for part in parts], full)
            for name in ('image', 'fused', 'first', 'second')
        }
        return Fusion(**images, losses=average(groups, [part.losses for part in parts]), sizes=sizes)

    def _fuse(
        self, first: Tensor, second: Tensor, guidance: Dict[str, object], state: Optional[Dict[str, Tensor]]
    ) -> Fusion:
        source_first, source_second, color = split_color(first, second, self.fuser.color_space, self.fuser.channels)
        sources = (source_first, source_second)
        fused, losses = (
            self.fuser(*sources, **guidance) if state is None else functional_call(self.fuser, state, sources, guidance)
        )
        steps = () if self.fuser.training else self.fuser.postprocess
        if steps[:1] == (
            'gray',
        ):  # of a fused luminance: with its color it might leave [0, 1], and clamping would change it
            color = color._replace(chroma=None)
        image = restore_color(fused, color)
        image = image.clamp(0, 1) if self.clamp else image
        if steps:
            image = postprocess(image.clamp(0, 1), steps)
        return Fusion(image, fused, source_first, source_second, losses)

    def guidance(self, inputs: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """What the guide says of a batch; empty without one. In a padded batch it looks at each picture without the
        padding.
        """
        sizes = padded_sizes(inputs)
        if self.guide is None or sizes is None:
            return self._guide(inputs['first'], inputs['second'])
        groups = size_groups(sizes)
        found = [self._guide(*(group.of(inputs[name], len(sizes)) for name in ('first', 'second'))) for group in groups]
        return aligned_guidance(found, groups, tuple(inputs['first'].shape[-2:]))

    def _guide(self, first: Tensor, second: Tensor) -> Dict[str, Tensor]:
        return self.guide(first, second) if self.guide is not None else {}

    def _options(
        self, inputs: Dict[str, Tensor], data_samples: Optional[Sequence[FusionDataSample]]
    ) -> Dict[str, object]:
        """What the fuser is told beside guidance: the fusion task of the batch, if it asks for it, and
        :attr:`fuser_options`.
        """
        name, known = type(self.fuser).__name__, self.fuser.options()
        task = fusion_task(data_samples)
        if FORMER_TASK in inputs and task is None:
            warn_renamed('BaseCoupling.fuse', "inputs['task']", 'data_samples=..., which name the fusion task')
            task = inputs[FORMER_TASK]
        if task is None or not {FUSION_TASK, FORMER_TASK} & set(known):
            return self.fuser_options
        if not isinstance(task, str):
            raise InputError(
                f'{name} fuses batches of one task, and this one holds {sorted(map(str, set(task)))}: '
                "use batch_sampler = dict(type='TaskBatchSampler') in training, and batch_size=1 in test"
            )
        return {**name_fusion_task({FUSION_TASK: task}, known, name), **self.fuser_options}

    def guide_and_fuse(
        self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]
    ) -> 'tuple[Fusion, Losses]':
        """Run the guide once for its guidance and its losses, then fuse.

        Returns:
            tuple: The fusion, and the losses of guide and fuser under their prefixes.
        """
        losses: Losses = {}
        guidance = None
        if self.guide is not None and self.guide_weight > 0:
            guidance, guide_losses = self.guide.loss(inputs['first'], inputs['second'], data_samples)
            losses.update(prefixed('guide', guide_losses, self.guide_weight))
        elif self.guide is not None:
            with torch.no_grad():
                guidance = self.guidance(inputs)
        fusion = self.fuse(inputs, guidance, data_samples=data_samples)
        losses.update(prefixed('fuser', fusion.losses))
        return fusion, losses

    def fusion_losses(self, fusion: Fusion, data_samples: Sequence[FusionDataSample], **learned: Tensor) -> Losses:
        """The configured fusion losses, as ``fusion.loss_<name>``; ``learned`` is handed to them beside the labels.

        Padding is left out, as is what only one source shows of a pair that was registered on loading (what is outside
        the largest rectangle of its ``valid_map``), and every picture counts alike; a picture with next to nothing left
        does not count. When the samples name a fusion task, the sum is logged once more as ``fusion.<task>``, apart
        from other tasks and outside the total.
        """
        context = {**loss_context(data_samples), **learned}
        parts = [
            (group, part, {key: group.of(value, len(fusion.fused)) for key, value in context.items()})
            for group, part in fusion.parts(valid_windows(data_samples))
        ]
        if not parts:  # a batch whose pairs hardly overlap
            return {f'fusion.loss_{name}': fusion.fused.sum() * 0 for name in self.fusion_loss}
        for group, _, of_part in parts:
            if any(group.corner) and 'boxes' in of_part:
                of_part['boxes'] = [boxes - boxes.new_tensor([*group.corner[::-1]] * 2) for boxes in of_part['boxes']]
        losses = average(
            [group for group, _, _ in parts],
            [
                {
                    f'fusion.loss_{name}': criterion(part.fused, part.first, part.second, **of_part)
                    for name, criterion in self.fusion_loss.items()
                }
                for _, part, of_part in parts
            ],
        )
        if isinstance(context.get(FUSION_TASK), str) and losses:
            losses[f'fusion.{context[FUSION_TASK]}'] = sum(losses.values()).detach()
        return losses

    def task_losses(self, image: Tensor, data_samples: Sequence[FusionDataSample]) -> Losses:
        """Weighted losses of every task on the fused ``image`` (N, 1 or 3, H, W), under the task's name.

        A task of weight 0 is left out of the computation.
        """
        losses: Losses = {}
        for name, task in self.tasks.items():
            if self.task_weights[name] > 0:
                losses.update(prefixed(name, task.loss(image, data_samples), self.task_weights[name]))
        return losses
