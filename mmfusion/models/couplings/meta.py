"""TDFusion's rule: the task loss does not reach the fuser itself, it teaches the loss that the fuser learns from.

H. Bai, J. Zhang, Z. Zhao, Y. Wu, L. Deng, Y. Cui, T. Feng, S. Xu, "Task-driven image fusion with learnable fusion
loss", CVPR 2025 (arXiv 2412.03240). Implemented from the formulas and from vectors recorded with the published program.
"""

from typing import Any, Dict, Optional, Sequence, Tuple, Union

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from mmfusion.models.layers.color import luminance
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError

from .base import BaseCoupling, Fusion
from .steps.image_sizes import put_together
from .steps.losses import Losses, prefixed
from .steps.meta_checks import check_labels, check_optimizers, check_options
from .steps.meta_update import fuser_steps, generator_step, mean_of_first
from .steps.pair_batch import PairBatch, random_crop, resize_batch, swap_roles
from .steps.state import TrainingState, at_rest, average_gradients, optimizer_step, trainable
from .task_network import PREDICTION_FIELDS, FrozenTasks

Log = Dict[str, Tensor]
Size = Tuple[int, int]


@MODELS.register_module()
class MetaCoupling(BaseCoupling):
    r"""Learn by meta-learning which fusion loss serves the tasks; the fuser learns from that loss alone.

    A loss generation module :math:`G` gives every pixel a weight per source, and the fusion loss
    :math:`L_f(\theta_F, \theta_G)` depends on them. :meth:`meta_step` (phase 1) teaches :math:`G`:

    .. math::
        \theta_F' = \theta_F - \eta \nabla_{\theta_F} L_f(\theta_F, \theta_G), \qquad
        g = \nabla_{\theta_G} L_t(\theta_F', \theta_T'), \qquad
        \theta_G \leftarrow \theta_G - \eta\, g / \max|g|

    where :math:`\theta_T'` is the task network one step of its own optimizer later; afterwards it is put back. Only
    :math:`\theta_F'` is differentiated, at fixed :math:`\theta_T'`:

    .. math:: g = (\partial \theta_F' / \partial \theta_G)^\top \, \nabla_{\theta_F'} L_t(\theta_F', \theta_T')

    With ``inner_fuser='current'`` that is the whole gradient, since :math:`\theta_T'` comes from images of
    :math:`\theta_F`. With ``'updated'`` it depends on :math:`\theta_F'` too, and :math:`(\partial \theta_F' / \partial
    \theta_G)^\top (\partial \theta_T' / \partial \theta_F')^\top \nabla_{\theta_T'} L_t` is left out: it would take
    second derivatives of the task networks, which RoIAlign and other operators of detectors do not have.
    :meth:`train_step` (phase 2) takes one step of the fuser on :math:`L_f` and one step of the task networks on the
    fused images. ``MetaTrainLoop`` runs both. :math:`\eta` is the current learning rate of the fuser.

    ``optim_wrapper`` holds one optimizer under ``fuser``, one under ``tasks``, one under ``guide`` where a guide
    learns, and perhaps one under ``loss_generator``, which then takes the place of the normalized step (Adam with eps
    of at most 1e-10: gradients are about 1e-8). ``PartOptimWrapperConstructor`` builds them from a config. Everything
    runs in float32. With several processes the gradients of all parts are averaged here; the model is wrapped in
    ``MMDistributedDataParallel`` as mmengine does by default.

    A guide learns in phase 2 on the same images as the task networks and is at rest (evaluation mode, no gradient)
    wherever else its guidance is needed; auxiliary losses of the fuser are part of :math:`L_f` in both phases.

    Args:
        fuser: Config of a fuser with parameters.
        loss_generator: Config of the loss generation module: two gray sources (N, 1, H, W) to weights (N, 2, H, W) that
            sum to 1.
        fusion_loss: Configs of fusion losses by name; those that take ``weights`` learn.
        tasks: Configs of task networks by name; with several, their losses add under ``task_weights``.
        task_weights: Factor of each task's losses.
        crop_size: Side or (height, width) of the random crop that the fusion loss sees; smaller images set it lower.
            None for whole images.
        task_size: (height, width) to which sources and labels are resized for the tasks, in tests the fused image; None
            keeps the size of the pipeline.
        resize: ``'sources'`` fuses the resized sources (published); ``'fused'`` fuses at full size and resizes the
            fused image.
        swap: Every batch is followed by a copy with exchanged sources, in both phases (published).
        inner_steps: Steps from :math:`\theta_F` to :math:`\theta_F'`, all on one crop; published is 1.
        inner_fuser: Whose images :math:`\theta_T'` learns from: ``'current'`` is :math:`\theta_F` (published),
            ``'updated'`` is :math:`\theta_F'`. With ``'updated'`` the gradient is truncated, as above.
        restore_moments: Put the state of the task optimizer back as well. The published program keeps what phase 1 did
            to it.
        guide: Config of a guide.
        guide_weight: Factor of the guide's own losses; 0 freezes it.
        clamp: Clamp the fused image to [0, 1] before the tasks see it; see :class:`BaseCoupling`.
        frozen_tasks: Tasks whose networks stay as loaded and teach the loss generation module alone; see
            :class:`BaseCoupling`. Where that is all of them, there is no optimizer under ``tasks`` and no step of them
            in either phase.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: No task or no fusion loss is given, the fuser has no parameters, or an option is out of range.
    """

    averages_gradients = True
    precision = 'float32'  # gradients of the loss generation module are about 1e-8 and vanish in half precision
    loop = 'MetaTrainLoop'

    def __init__(
        self,
        fuser: dict,
        loss_generator: dict,
        fusion_loss: Dict[str, dict],
        tasks: Dict[str, dict],
        task_weights: Optional[Dict[str, float]] = None,
        crop_size: Union[int, Size, None] = 256,
        task_size: Optional[Size] = None,
        resize: str = 'sources',
        swap: bool = True,
        inner_steps: int = 1,
        inner_fuser: str = 'current',
        restore_moments: bool = True,
        guide: Optional[dict] = None,
        guide_weight: float = 1.0,
        clamp: bool = False,
        data_preprocessor: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
        frozen_tasks: FrozenTasks = (),
    ) -> None:
        super().__init__(
            fuser,
            fusion_loss,
            tasks,
            task_weights,
            guide,
            guide_weight,
            clamp,
            data_preprocessor,
            init_cfg,
            frozen_tasks,
        )
        self.crop_size: Optional[Size] = (
            (crop_size, crop_size) if isinstance(crop_size, int) else crop_size and tuple(crop_size)
        )
        self.task_size: Optional[Size] = task_size and tuple(task_size)
        self.resize, self.swap, self.inner_steps, self.inner_fuser = resize, swap, inner_steps, inner_fuser
        self.restore_moments = restore_moments
        check_options(self)
        self.loss_generator = MODELS.build(loss_generator)

    # Parts ----------------------------------------------------------------------------------------------------------

    def generate_weights(self, first: Tensor, second: Tensor) -> Tensor:
        """Learned weights of the fusion loss, (N, 2, H, W), channel 0 for the first source; they sum to 1 in every
        pixel.

        Args:
            first: (N, 1 or 3, H, W) in [0, 1], gray or RGB.
            second: Same of the second source.
        """
        return self.loss_generator(luminance(first), luminance(second))

    def weights_of(self, fusion: Fusion) -> Tensor:
        """:meth:`generate_weights` for the sources of a fusion, of every picture without its padding; zeros there."""
        groups, parts = zip(*fusion.parts())
        return put_together(
            groups, [self.generate_weights(part.first, part.second) for part in parts], tuple(fusion.first.shape[-2:])
        )

    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of phase 2 on whole images in one sum, where no gradient crosses from one part to another."""
        fusion, losses = self.guide_and_fuse(inputs, data_samples)
        losses.update(self.fusion_losses(fusion, data_samples))
        losses.update(self.task_losses(fusion.image.detach(), data_samples))
        return losses

    def fusion_losses(self, fusion: Fusion, data_samples: Sequence[FusionDataSample], **learned: Tensor) -> Losses:
        """Fusion losses under the learned weights: ``weights`` if given, otherwise those that the generator has now,
        detached.
        """
        if 'weights' not in learned:
            with torch.no_grad():
                learned['weights'] = self.weights_of(fusion)
        return super().fusion_losses(fusion, data_samples, **learned)

    def predict_tasks(self, image: Tensor, data_samples: Sequence[FusionDataSample]) -> None:
        """The tasks see the fused image at ``task_size``, as they do in training; predictions are in original
        coordinates as ever.
        """
        view = resize_batch(
            PairBatch(dict(image=image), [sample.new(metainfo=sample.metainfo, data={}) for sample in data_samples]),
            self.task_size,
        )
        super().predict_tasks(view.inputs['image'], view.samples)
        for sample, seen in zip(data_samples, view.samples):
            for name in PREDICTION_FIELDS:
                if name in seen:
                    setattr(sample, name, getattr(seen, name))

    # Phase 1 --------------------------------------------------------------------------------------------------------

    def meta_step(self, inner: Any, outer: Any, optim_wrapper: OptimWrapperDict) -> Log:
        """Phase 1 once: teach the loss generation module. Fuser, guide and task networks are afterwards what they were.

        Args:
            inner: Collated batch for the step of the fuser and that of the task networks.
            outer: Collated batch whose task loss is lowered.
            optim_wrapper: See the class.

        Returns:
            Values to log, detached: ``meta.loss`` (the outer task loss) and its terms, ``meta.loss_inner`` (task loss
            before the task network's step, missing where all are frozen), ``meta.loss_fusion``, ``meta.weight_first``
            (mean weight of the first source) and ``meta.max_grad``.

        Raises:
            UserError: Optimizers are missing or of mixed precision, or the gradient is not finite.
            ValueError: Labels do not fit images or classes.
        """
        inner_batch, outer_batch = self._load(inner), self._load(outer)
        crop = random_crop(inner_batch, self.crop_size)
        return self.meta_update(
            self._swapped(crop),
            *(self._swapped(self._task_sized(x)) for x in (inner_batch, outer_batch)),
            optim_wrapper,
        )

    def meta_update(self, crop: PairBatch, inner: PairBatch, outer: PairBatch, optim_wrapper: OptimWrapperDict) -> Log:
        """:meth:`meta_step` on prepared batches: ``crop`` for the fusion loss, ``inner`` and ``outer`` for the
        tasks.
        """
        check_optimizers(self, optim_wrapper)
        with at_rest(self.guide):
            buffers = {
                name: buffer.clone() for name, buffer in self.fuser.named_buffers()
            }  # statistics stay as they are
            steps = fuser_steps(self, crop, self._resting_guidance(crop), buffers, optim_wrapper['fuser'].optimizer)
            # The outer graph ends at leaves of its own, so that its gradient is one vector, averaged over processes.
            leaves = [value.requires_grad_() for value in average_gradients(steps.values, steps.values)]
            state = {**dict(zip(steps.names, leaves)), **buffers}
            learning = 'tasks' in optim_wrapper
            saved = TrainingState(
                self.tasks, optim_wrapper['tasks'].optimizer if learning and self.restore_moments else None
            )
            inner_log: Log = {}
            try:
                if learning:
                    with torch.no_grad():
                        picture = self._picture(inner, state if self.inner_fuser == 'updated' else buffers)
                    inner_log = self._task_step(*picture, optim_wrapper)
                loss, terms = self._task_total(*self._picture(outer, state))
                direction = average_gradients(torch.autograd.grad(loss, leaves, allow_unused=True), leaves)
            finally:
                saved.restore()
        largest = generator_step(self.loss_generator, steps.values, direction, optim_wrapper)
        return {
            'meta.loss': loss.detach(),
            **prefixed('meta', terms),
            **({'meta.loss_inner': inner_log['loss']} if inner_log else {}),
            'meta.loss_fusion': steps.loss,
            'meta.weight_first': steps.weight_first,
            'meta.max_grad': largest,
        }

    # Phase 2 --------------------------------------------------------------------------------------------------------

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> Log:
        """Phase 2 once: the fuser learns from the generated loss, then the task networks (and the guide) from the fused
        images.

        Args:
            data: Collated batch.
            optim_wrapper: See the class.

        Returns:
            Values to log, detached.

        Raises:
            UserError: Optimizers are missing or of mixed precision.
            ValueError: Labels do not fit images or classes.
        """
        batch = self._load(data)
        crop, full = self._swapped(random_crop(batch, self.crop_size)), self._swapped(self._task_sized(batch))
        check_optimizers(self, optim_wrapper)
        with at_rest(self.guide):
            fusion = self.fuse(crop.inputs, self._resting_guidance(crop), data_samples=crop.samples)
        with torch.no_grad():
            weights = self.weights_of(fusion)
        losses = {**prefixed('fuser', fusion.losses), **self.fusion_losses(fusion, crop.samples, weights=weights)}
        total, log = self.parse_losses(losses)
        optimizer_step(total, trainable(self.fuser), optim_wrapper['fuser'])
        guidance = None
        if self.guide is not None and self.guide_weight > 0:
            guidance, guide_losses = self.guide.loss(full.inputs['first'], full.inputs['second'], full.samples)
            guide_total, guide_log = self.parse_losses(prefixed('guide', guide_losses, self.guide_weight))
            optimizer_step(guide_total, trainable(self.guide), optim_wrapper['guide'])
            total, log = total + guide_total, {**log, **guide_log}
        with torch.no_grad():
            image, samples = self._picture(full, guidance=guidance)
        task_log = self._task_step(image, samples, optim_wrapper)
        total = total.detach() + task_log.pop('loss', 0.0)
        return {
            **{name: value.detach() for name, value in log.items()},
            **task_log,
            'loss': total,
            'weight_first': mean_of_first(weights),
        }

    # What the phases share ------------------------------------------------------------------------------------------

    def _load(self, data: Any) -> PairBatch:
        """Check the labels and make a batch on the device."""
        check_labels(data, self.tasks)
        data = self.data_preprocessor(data, training=True)
        return PairBatch(data['inputs'], data['data_samples'])

    def _swapped(self, batch: PairBatch) -> PairBatch:
        return swap_roles(batch) if self.swap else batch

    def _task_sized(self, batch: PairBatch) -> PairBatch:
        return resize_batch(batch, self.task_size) if self.resize == 'sources' else batch

    def _picture(
        self, batch: PairBatch, state: Optional[Dict[str, Tensor]] = None, guidance: Optional[Dict[str, Tensor]] = None
    ):
        """Fused image that the tasks see, and the samples that go with it."""
        image = self.fuse(
            batch.inputs, self._resting_guidance(batch) if guidance is None else guidance, state, batch.samples
        ).image
        if self.resize == 'fused':
            batch = resize_batch(PairBatch(dict(image=image), batch.samples), self.task_size)
            image = batch.inputs['image']
        return image, batch.samples

    def _task_total(self, image: Tensor, samples: Sequence[FusionDataSample]) -> Tuple[Tensor, Log]:
        losses = self.task_losses(image, samples)
        if not losses:
            raise UserError(
                f'the meta step needs a task of weight above 0, but the weights are {self.task_weights}; '
                f'let a TaskWeightHook start '
                'above 0, or begin phase 1 later (meta_begin of MetaTrainLoop)'
            )
        total, log = self.parse_losses(losses)
        log.pop('loss')
        return total, {name: value.detach() for name, value in log.items()}

    def _task_step(self, image: Tensor, samples: Sequence[FusionDataSample], optim_wrapper: OptimWrapperDict) -> Log:
        """One optimizer step of the task networks, as far as they learn, on fused images without gradient."""
        if not any(self.task_weights.values()):
            return {}
        parameters = trainable(self.tasks)
        with torch.set_grad_enabled(bool(parameters)):
            total, log = self._task_total(image.detach(), samples)
        if parameters:
            optimizer_step(total, parameters, optim_wrapper['tasks'])
        return {**log, 'loss': total.detach()}

    def _resting_guidance(self, batch: PairBatch) -> Dict[str, Tensor]:
        if self.guide is None:
            return {}
        with torch.no_grad():
            return self.guidance(batch.inputs)
