"""Bilevel training: the task loss decides among the optima of the fusion loss.

TIM (arXiv 2305.15862) states the problem: the task loss is minimized subject to the fused image coming from the optimum
of the fusion loss. How its authors solve it is not public; the rule here is ours. It is that of Y.-G. Hsieh et al.,
"Careful with that scalpel: improving gradient surgery with an EMA" (arXiv 2402.02998), reached from the implicit
gradient.
"""

from typing import Any, Dict, List, NamedTuple, Optional

import torch
from torch import Tensor, nn

from mmfusion.registry import MODELS

from .joint import JointCoupling
from .steps.implicit_gradient import Gradients, combine, inner_product, projection_coefficient, subtract_scaled
from .steps.optimizers import Wrappers, check_part_optimizers, precision_context, step_all
from .steps.state import average_gradients, trainable

Log = Dict[str, Tensor]


class Direction(NamedTuple):
    """What the fuser steps along.

    Attributes:
        values: One tensor per weight, None where neither loss depends on it.
        coefficient: The number c of the implicit gradient.
        cosine: Cosine of the angle between the gradients of the two losses; below 0 they are in conflict.
    """

    values: List[Optional[Tensor]]
    coefficient: Tensor
    cosine: Tensor


def bilevel_direction(
    upper: Gradients, lower: Gradients, upper_weight: float = 1.0, reference: Optional[Gradients] = None
) -> Direction:
    r"""Gradient of the lower loss, and of the upper one's what the lower problem leaves:
    :math:`f_w + \gamma (F_w - c f_w)`.

    Args:
        upper: Gradient F_w of the upper loss.
        lower: Gradient f_w of the lower loss.
        upper_weight: The factor :math:`\gamma`.
        reference: Direction that is taken out of the upper gradient; ``lower`` when missing.

    Examples:
        >>> step = bilevel_direction([torch.tensor([-4., 3.])], [torch.tensor([2., 0.])])
        >>> step.values, step.coefficient, step.cosine  # the conflict in the first weight is gone, the second weight is free
        ([tensor([2., 3.])], tensor(-2.), tensor(-0.8000))
    """
    reference = lower if reference is None else reference
    coefficient = projection_coefficient(upper, reference)
    left = combine(upper, reference, coefficient)  # the implicit gradient with the weights as upper variables
    values = subtract_scaled(lower, torch.as_tensor(-upper_weight), left)
    lengths = inner_product(upper, upper).sqrt() * inner_product(reference, reference).sqrt()
    return Direction(values, coefficient, inner_product(upper, reference) / lengths.clamp_min(1e-20))


@MODELS.register_module()
class BilevelCoupling(JointCoupling):
    r"""Minimize the task loss F over the optima of the fusion loss f.

    .. math::
        \min_{\theta, \varphi} F(\theta, \varphi) \quad \text{subject to} \quad \theta \in \arg\min_{\theta'} f(\theta')

    The weights :math:`\varphi` of the task networks appear in the upper problem alone: they step on :math:`F_\varphi`.
    The weights :math:`\theta` of the fuser are the variables of the lower problem, and where it has many optima they
    are free to serve the upper one. The implicit gradient, with :math:`\theta` itself in the place of the upper
    variables, says how much of the task gradient survives once the lower problem has answered:
    :math:`F_\theta - c f_\theta` with
    :math:`c = \langle F_\theta, f_\theta\rangle / \langle f_\theta, f_\theta\rangle`. The fuser steps along

    .. math::
        d = f_\theta + \gamma\, (F_\theta - c f_\theta)

    The second part is orthogonal to the first, so to first order the fusion loss falls as fast as if there were no
    task, whatever :math:`\gamma` is, and a step can only rest where :math:`f_\theta = 0`. A weighted sum
    (:class:`JointCoupling`) rests where the two gradients cancel, which is no optimum of either. An optimizer that
    scales coordinates (Adam) bends the direction; plain SGD keeps it.

    With a mini-batch, :math:`f_\theta` is noise once the fusion loss is small; ``momentum`` above 0 projects on a
    moving average of it instead. ``upper_weight=0`` is the cascade of ``JointCoupling(detach=True)``. A guide learns
    from its own losses alone; auxiliary losses of the fuser belong to f. Mode ``loss`` gives the plain sum of all
    losses, as in :class:`JointCoupling`.

    ``optim_wrapper`` is one optimizer for all, or one each for ``fuser``, ``tasks`` and ``guide``
    (``PartOptimWrapperConstructor``). ``BFloat16OptimWrapper`` is possible; a scaled loss (``AmpOptimWrapper``) is
    refused. In several processes ``CouplingTrainLoop`` is needed; both gradients are averaged before they are compared.

    Args:
        fuser: Config of a fuser with parameters.
        tasks: Configs of task networks by name; with several, their losses add under ``task_weights``. Those without
            trainable weights judge and do not learn; the optimizer has no ``tasks`` when that holds for all.
        fusion_loss: Configs of fusion losses by name.
        upper_weight: The factor :math:`\gamma` of what is left of the task gradient; the task networks do not see it.
        momentum: Part of the moving average of :math:`f_\theta` that is kept at each step, 0 to below 1; above 0 it is
            stored with the model.
        kwargs: ``task_weights``, ``frozen_tasks``, ``guide``, ``guide_weight``, ``clamp``, ``data_preprocessor``,
            ``init_cfg`` of :class:`JointCoupling`.

    Raises:
        ValueError: No task or no fusion loss is given, the fuser has no parameters, or an option is out of range.
    """

    averages_gradients = True
    precision = 'bfloat16'
    loop = 'CouplingTrainLoop'

    def __init__(
        self,
        fuser: dict,
        tasks: Dict[str, dict],
        fusion_loss: Dict[str, dict],
        upper_weight: float = 1.0,
        momentum: float = 0.0,
        **kwargs,
    ) -> None:
        if 'detach' in kwargs:
            raise ValueError('BilevelCoupling: instead of detach=True set upper_weight=0, or use JointCoupling')
        super().__init__(fuser, tasks, fusion_loss, **kwargs)
        if not len(self.fusion_loss):
            raise ValueError('BilevelCoupling needs a lower problem: give at least one fusion loss in `fusion_loss`')
        number = sum(parameter.numel() for parameter in trainable(self.fuser))
        if not number:
            raise ValueError(
                f'BilevelCoupling needs a fuser that learns, and {type(self.fuser).__name__} has no '
                f'trainable parameters'
            )
        if upper_weight < 0 or not 0 <= momentum < 1:
            raise ValueError(
                'BilevelCoupling: upper_weight must be at least 0 and momentum at least 0 and below 1, got '
                f'{upper_weight} and {momentum}'
            )
        self.upper_weight, self.momentum = float(upper_weight), float(momentum)
        self.register_buffer('lower_average', torch.zeros(number) if momentum > 0 else None)

    def learning_parts(self) -> Dict[str, nn.Module]:
        """The parts that learn, by the key of their optimizer."""
        parts = dict(fuser=self.fuser)
        if trainable(self.tasks):
            parts['tasks'] = self.tasks
        if self.guide is not None and self.guide_weight > 0:
            parts['guide'] = self.guide
        return parts

    def train_step(self, data: Any, optim_wrapper: Wrappers) -> Log:
        """One step of every part.

        Args:
            data: Collated batch.
            optim_wrapper: See the class.

        Returns:
            Values to log, detached: all losses under their names, their sum ``loss``, the number c as
            ``bilevel.coefficient``, and ``bilevel.cosine`` of the angle between both gradients.

        Raises:
            UserError: The optimizers do not suit.
        """
        parts = self.learning_parts()
        check_part_optimizers(self, optim_wrapper, parts)
        data = self.data_preprocessor(data, True)
        with precision_context(optim_wrapper, self):
            fusion, own = self.guide_and_fuse(data['inputs'], data['data_samples'])
            guide = {name: value for name, value in own.items() if name.startswith('guide.')}
            lower = {name: value for name, value in own.items() if name not in guide}
            lower.update(self.fusion_losses(fusion, data['data_samples']))
            picture = (
                fusion.image.detach().requires_grad_()
            )  # the graph of the tasks ends here, and is freed before that of the fuser
            upper = self.task_losses(picture, data['data_samples'])
        total, log = self.parse_losses({**guide, **lower, **upper})
        log = {name: value.detach() for name, value in log.items()}
        log.update(
            self._fuser_gradients(self._task_gradients(upper, picture), fusion.image, self.parse_losses(lower)[0])
        )
        if guide:
            self._hang(
                'guide', torch.autograd.grad(self.parse_losses(guide)[0], trainable(self.guide), allow_unused=True)
            )
        step_all(optim_wrapper)
        return log

    def _hang(self, part: str, gradients: Gradients) -> None:
        parameters = trainable(getattr(self, part))
        for parameter, gradient in zip(parameters, average_gradients(gradients, parameters)):
            parameter.grad = gradient

    def _task_gradients(self, losses: dict, picture: Tensor) -> Optional[Tensor]:
        """Hang their gradients on the task networks; return that of the fused image, None without a task or where it
        does not matter.
        """
        if not losses:
            return None
        wanted, weights = [picture] if self.upper_weight > 0 else [], trainable(self.tasks)
        if not wanted and not weights:
            return None
        gradients = torch.autograd.grad(self.parse_losses(losses)[0], [*wanted, *weights], allow_unused=True)
        if weights:
            self._hang('tasks', gradients[len(wanted) :])
        return gradients[0] if wanted else None

    def _fuser_gradients(self, of_picture: Optional[Tensor], image: Tensor, lower_loss: Tensor) -> Log:
        parameters = trainable(self.fuser)
        upper = None
        if of_picture is not None:
            upper = torch.autograd.grad(image, parameters, of_picture, allow_unused=True, retain_graph=True)
            upper = average_gradients(upper, parameters)
        lower = average_gradients(torch.autograd.grad(lower_loss, parameters, allow_unused=True), parameters)
        reference = self._average(lower, parameters)
        log, values = {}, lower
        if upper is not None:
            values, coefficient, cosine = bilevel_direction(upper, lower, self.upper_weight, reference)
            log = {'bilevel.coefficient': coefficient, 'bilevel.cosine': cosine}
        for parameter, value in zip(parameters, values):
            parameter.grad = value
        return log

    @torch.no_grad()
    def _average(self, lower: Gradients, parameters: List[nn.Parameter]) -> Optional[List[Tensor]]:
        """Update the moving average of the lower gradient and return it, None without momentum. Its scale does not
        matter.
        """
        if self.lower_average is None:
            return None
        flat = torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in zip(lower, parameters)])
        self.lower_average.lerp_(flat.to(self.lower_average.dtype), 1 - self.momentum)
        return [
            part.view_as(p) for part, p in zip(self.lower_average.split([p.numel() for p in parameters]), parameters)
        ]
