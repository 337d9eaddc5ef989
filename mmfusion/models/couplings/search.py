"""Implicit architecture search: weights learn on one part of the data, the architecture on another, by the implicit
gradient.

The gradient is that of TIM (arXiv 2305.15862, see ``implicit_gradient.py``). Supernet, split and schedule are ours; the
latency term is that of related published work: a table of measured latencies, weighted like the operations themselves.
"""

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from mmfusion.models.fusers.tim import save_genotype
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import UserError
from mmfusion.visualization.genotype import draw_genotype

from .base import BaseCoupling
from .steps.implicit_gradient import Gradients, combine, projection_coefficient
from .steps.latency_table import LatencyTable, expected_latency, load_latency_table
from .steps.losses import Losses, prefixed
from .steps.optimizers import check_part_optimizers, precision_context
from .steps.state import average_gradients, trainable
from .task_network import FrozenTasks

Log = Dict[str, Tensor]


@MODELS.register_module()
class SearchCoupling(BaseCoupling):
    r"""Train a supernet and search its architecture.

    .. math::
        \min_a F(w^*(a), a) + \lambda\, t(a) \quad \text{subject to} \quad w^*(a) \in \arg\min_w f(w, a)

    f is the fusion loss on the training part of the data. F is measured on the other part: the fusion loss again, or
    the loss of the task networks, which then learn beside the supernet, on its images of the training part and without
    gradient to it. :math:`a` steps on :math:`F_a - c f_a`
    (:func:`~mmfusion.models.couplings.steps.implicit_gradient.implicit_gradient`) plus the gradient of the latency, and
    then w on :math:`f_w`. t is the expected latency by a measured table, in units of its value for equal weights, so
    that :math:`\lambda` means the same on every device.

    ``optim_wrapper`` holds one optimizer each under ``fuser`` (the weights of the supernet), ``architecture`` (in TIM
    Adam with betas 0.5, 0.999) and, where tasks learn, ``tasks``; ``PartOptimWrapperConstructor`` builds them.
    ``SearchTrainLoop`` hands over both data parts. Mode ``loss`` gives f, and the losses of the tasks on detached
    images.

    Args:
        fuser: Config of a fuser with ``network``, ``architecture`` and ``genotype()``, such as :class:`SearchableTIM`.
        fusion_loss: Configs of fusion losses by name.
        tasks: Configs of task networks by name; those without trainable weights judge and do not learn.
        task_weights: Factor of each task's losses.
        upper: F: ``'fusion'``, ``'task'``, or ``'both'`` (their sum).
        latency_table: Path of a table that ``mmfusion latency`` wrote; needed for a latency weight above 0.
        latency_weight: The factor :math:`\lambda`.
        legacy_sign: Step on :math:`F_a + \eta c f_a`, as the published program does, with the learning rate of the
            weights as :math:`\eta`.
        clamp: Clamp the fused image to [0, 1] before the tasks see it; see :class:`BaseCoupling`.
        frozen_tasks: Tasks whose networks stay as loaded; see :class:`BaseCoupling`.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: mmengine initialization config.

    Raises:
        ValueError: The fuser cannot be searched, there is no fusion loss, ``upper`` is unknown or needs a task, or the
            latency is not known.
    """

    averages_gradients = True
    precision = 'bfloat16'
    loop = 'SearchTrainLoop'

    def __init__(
        self,
        fuser: dict,
        fusion_loss: Dict[str, dict],
        tasks: Optional[Dict[str, dict]] = None,
        task_weights: Optional[Dict[str, float]] = None,
        upper: str = 'fusion',
        latency_table: Union[str, dict, LatencyTable, None] = None,
        latency_weight: float = 0.0,
        legacy_sign: bool = False,
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
            clamp=clamp,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            frozen_tasks=frozen_tasks,
        )
        if not all(hasattr(self.fuser, name) for name in ('network', 'architecture', 'genotype')):
            raise ValueError(
                f'SearchCoupling needs a fuser whose architecture can be searched (SearchableTIM), '
                f'not {type(self.fuser).__name__}'
            )
        if not len(self.fusion_loss):
            raise ValueError('SearchCoupling needs a lower problem: give at least one fusion loss in `fusion_loss`')
        if upper not in ('fusion', 'task', 'both') or (upper != 'fusion' and not len(self.tasks)):
            raise ValueError(
                f"SearchCoupling: upper must be 'fusion', or with tasks 'task' or 'both'; "
                f'got {upper!r} and {len(self.tasks)} tasks'
            )
        if latency_weight < 0 or (latency_weight > 0 and latency_table is None):
            raise ValueError(
                f'SearchCoupling: latency_weight must be at least 0 and above 0 needs a latency_table, '
                f'got {latency_weight}'
            )
        self.upper, self.latency_weight, self.legacy_sign = upper, float(latency_weight), legacy_sign
        architecture = self.fuser.architecture
        table = (
            None
            if latency_table is None
            else load_latency_table(latency_table).tensor(architecture.positions, architecture.candidates)
        )
        self.register_buffer('latency', table, persistent=False)

    def loss(self, inputs: Dict[str, Tensor], data_samples: Sequence[FusionDataSample]) -> Losses:
        """Losses of the lower problem, and those of the tasks on detached images; arguments as in
        :meth:`BaseCoupling.forward`.
        """
        fusion, losses = self.guide_and_fuse(inputs, data_samples)
        losses.update(self.fusion_losses(fusion, data_samples))
        losses.update(self.task_losses(fusion.image.detach(), data_samples))
        return losses

    def learning_parts(self) -> Dict[str, nn.Module]:
        """The parts that learn, by the key of their optimizer."""
        parts = dict(fuser=self.fuser.network, architecture=self.fuser.architecture)
        return dict(parts, tasks=self.tasks) if trainable(self.tasks) else parts

    def relative_latency(self) -> Optional[Tensor]:
        """Expected latency over its value for equal weights, with gradient; None without a table."""
        if self.latency is None:
            return None
        return expected_latency(self.fuser.architecture.probabilities(), self.latency) / self.latency.mean(1).sum()

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> Log:
        """One step of the weights (and the task networks); the architecture stays. Arguments as :meth:`search_step`."""
        self._check(optim_wrapper)
        _, log = self._weights_step(data, optim_wrapper, [])
        return log

    def search_step(self, data: Any, upper_data: Any, optim_wrapper: OptimWrapperDict) -> Log:
        """One step of the architecture, and one of the weights (and the task networks), all from gradients at the same
        point.

        Args:
            data: Collated batch of the training part.
            upper_data: Collated batch of the other part.
            optim_wrapper: See the class.

        Returns:
            Values to log, detached: the losses of the training part under their names and as ``loss``; ``upper.loss``
            of the other part with its terms, ``search.coefficient`` (the number c), ``search.entropy`` (mean over
            positions, 1 for equal weights) and ``search.latency`` (relative).

        Raises:
            UserError: The optimizers do not suit, or the upper loss is empty.
        """
        self._check(optim_wrapper)
        architecture = trainable(self.fuser.architecture)
        upper_weights, upper_direct, upper_log = self._upper_gradients(upper_data, optim_wrapper)
        (lower_weights, lower_direct), log = self._weights_step(data, optim_wrapper, architecture)
        coefficient = projection_coefficient(upper_weights, lower_weights)
        eta = optim_wrapper['fuser'].optimizer.param_groups[0]['lr']
        gradients = combine(upper_direct, lower_direct, coefficient, self.legacy_sign, eta)
        latency = self.relative_latency()
        if latency is not None and self.latency_weight > 0:
            of_latency = torch.autograd.grad(self.latency_weight * latency, architecture)
            gradients = [part if gradient is None else gradient + part for gradient, part in zip(gradients, of_latency)]
        for parameter, gradient in zip(architecture, gradients):
            parameter.grad = gradient
        optim_wrapper['architecture'].step()
        optim_wrapper['architecture'].zero_grad()
        log.update(upper_log)
        log['search.coefficient'] = coefficient
        log['search.entropy'] = self._entropy()
        if latency is not None:
            log['search.latency'] = latency.detach()
        return log

    def write_architecture(self, folder: Union[str, Path], epoch: int) -> Path:
        """Write the genotype that would be chosen now as ``genotype.json`` in a folder, and its picture beside it.

        Args:
            folder: Work dir of the search; its name stands in the note of the genotype.
            epoch: Epochs that were searched.

        Returns:
            Path: The file.

        Raises:
            OSError: A file cannot be written.
        """
        return save_current_genotype(self.fuser, Path(folder), epoch)

    def _check(self, optim_wrapper: Any) -> None:
        check_part_optimizers(self, optim_wrapper, self.learning_parts(), separate=('architecture',))

    def _upper_gradients(self, data: Any, optim_wrapper: OptimWrapperDict):
        """Gradients of F for weights and architecture, and what to log."""
        weights, architecture = trainable(self.fuser.network), trainable(self.fuser.architecture)
        data = self.data_preprocessor(data, True)
        with precision_context(optim_wrapper, self):
            fusion = self.fuse(data['inputs'], data_samples=data['data_samples'])
            losses: Losses = {}
            if self.upper != 'task':
                losses.update(prefixed('fuser', fusion.losses), **self.fusion_losses(fusion, data['data_samples']))
            if self.upper != 'fusion':
                losses.update(self.task_losses(fusion.image, data['data_samples']))
        if not losses:
            raise UserError(
                f'the upper problem needs a task of weight above 0, but the weights are {self.task_weights}'
            )
        total, log = self.parse_losses(losses)
        gradients = self._averaged(
            torch.autograd.grad(total, [*weights, *architecture], allow_unused=True), [*weights, *architecture]
        )
        return (
            gradients[: len(weights)],
            gradients[len(weights) :],
            {f'upper.{name}': value.detach() for name, value in log.items()},
        )

    def _weights_step(self, data: Any, optim_wrapper: OptimWrapperDict, architecture: List[nn.Parameter]):
        """Step of weights and tasks on the training part; the gradients of f for weights and ``architecture`` come
        back.
        """
        weights = trainable(self.fuser.network)
        data = self.data_preprocessor(data, True)
        with precision_context(optim_wrapper, self):
            fusion = self.fuse(data['inputs'], data_samples=data['data_samples'])
            lower = {**prefixed('fuser', fusion.losses), **self.fusion_losses(fusion, data['data_samples'])}
            of_tasks = self.task_losses(fusion.image.detach(), data['data_samples'])
        gradients = self._averaged(
            torch.autograd.grad(self.parse_losses(lower)[0], [*weights, *architecture], allow_unused=True),
            [*weights, *architecture],
        )
        self._step('fuser', weights, gradients[: len(weights)], optim_wrapper)
        parameters = trainable(self.tasks)
        if of_tasks and parameters:
            found = self._averaged(
                torch.autograd.grad(self.parse_losses(of_tasks)[0], parameters, allow_unused=True), parameters
            )
            self._step('tasks', parameters, found, optim_wrapper)
        _, log = self.parse_losses({**lower, **of_tasks})
        return (gradients[: len(weights)], gradients[len(weights) :]), {
            name: value.detach() for name, value in log.items()
        }

    @staticmethod
    def _averaged(gradients: Gradients, parameters: Sequence[Tensor]) -> List[Optional[Tensor]]:
        return average_gradients(gradients, parameters)

    @staticmethod
    def _step(
        part: str, parameters: Sequence[nn.Parameter], gradients: Gradients, optim_wrapper: OptimWrapperDict
    ) -> None:
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = (
                None if gradient is None else gradient.clone()
            )  # clipping changes it in place, and it is used again
        optim_wrapper[part].step()
        optim_wrapper[part].zero_grad()

    @torch.no_grad()
    def _entropy(self) -> Tensor:
        p = self.fuser.architecture.probabilities()
        return -(p * p.clamp_min(1e-12).log()).sum(1).mean() / torch.log(torch.tensor(float(p.shape[1])))


def save_current_genotype(fuser: nn.Module, work_dir: Path, epoch: int) -> Path:
    """Write the genotype of a searchable fuser, and its picture; see :meth:`SearchCoupling.write_architecture`."""
    path = work_dir / 'genotype.json'
    genotype = fuser.genotype('searched', f'Searched for {epoch} epochs in {work_dir.name}.')
    save_genotype(genotype, path)
    draw_genotype(genotype.cells, path.with_suffix('.png'), genotype.note)
    return path
