"""Meta update: fuser steps that keep the graph to their loss, and the step of the module that generated it."""

from typing import Dict, List, NamedTuple, Optional, Sequence

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from mmfusion.models.layers import whole_images
from mmfusion.utils import NonFiniteError, UserError

from ..base import BaseCoupling
from .losses import prefixed
from .pair_batch import PairBatch
from .state import average_gradients, set_gradients, trainable


class FuserSteps(NamedTuple):
    """A fuser some steps later.

    Attributes:
        names: Names of its parameters.
        values: Their new values, in a graph that leads to the loss generation module alone.
        loss: Fusion loss before the first step, detached.
        weight_first: Mean of the learned weights of the first source, detached.
    """

    names: List[str]
    values: List[Tensor]
    loss: Tensor
    weight_first: Tensor


def fuser_steps(
    coupling: BaseCoupling,
    crop: PairBatch,
    guidance: Dict[str, Tensor],
    buffers: Dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> FuserSteps:
    """Plain gradient steps of the fuser on the generated loss; the fuser itself stays as it is.

    Args:
        coupling: A coupling with ``loss_generator`` and ``inner_steps``.
        crop: What the fusion loss sees.
        guidance: Guidance for ``crop``.
        buffers: Buffers of the fuser, which its forward pass may change.
        optimizer: Optimizer of the fuser, for its current learning rates.

    Raises:
        UserError: Several steps are asked for in several processes.
    """
    if coupling.inner_steps > 1 and get_world_size() > 1:
        raise UserError(
            'inner_steps above 1 is not supported with several processes: their steps would drift apart; '
            'set inner_steps=1'
        )
    named = {name: parameter for name, parameter in coupling.fuser.named_parameters() if parameter.requires_grad}
    rates = {id(parameter): group['lr'] for group in optimizer.param_groups for parameter in group['params']}
    etas = [rates[id(parameter)] for parameter in named.values()]
    values, weights, first_loss = list(named.values()), None, None
    for step in range(coupling.inner_steps):
        with whole_images():  # its gradient will be differentiated
            fusion = coupling.fuse(crop.inputs, guidance, {**dict(zip(named, values)), **buffers}, crop.samples)
        weights = coupling.weights_of(fusion) if weights is None else weights
        losses = {**prefixed('fuser', fusion.losses), **coupling.fusion_losses(fusion, crop.samples, weights=weights)}
        loss, _ = coupling.parse_losses(losses)
        first_loss = loss.detach() if step == 0 else first_loss
        gradients = torch.autograd.grad(loss, values, create_graph=True, allow_unused=True)
        # How the loss depends on the fuser's own parameters is of no interest, so that end is cut.
        starts = [value.detach() for value in values] if step == 0 else values
        values = [
            start if gradient is None else start - eta * gradient
            for start, eta, gradient in zip(starts, etas, gradients)
        ]
    return FuserSteps(list(named), values, first_loss, mean_of_first(weights.detach()))


def mean_of_first(weights: Tensor) -> Tensor:
    """Mean weight of the first source over pixels (N, 2, H, W) that are not padding, where both weights are zero."""
    return weights[:, 0].sum() / weights.sum()


def generator_step(
    generator: nn.Module,
    values: Sequence[Tensor],
    direction: Sequence[Optional[Tensor]],
    optim_wrapper: OptimWrapperDict,
) -> Tensor:
    """Carry the outer gradient on to the loss generation module, and step.

    With an optimizer under ``loss_generator`` that one steps; otherwise the largest entry moves by the learning rate of
    the fuser and the others in proportion, and nothing moves when all are zero.

    Args:
        generator: Loss generation module.
        values: As :attr:`FuserSteps.values`.
        direction: Gradient of the outer loss with respect to them.
        optim_wrapper: Optimizers of the coupling.

    Returns:
        Largest absolute entry of the gradient.

    Raises:
        UserError: The gradient does not reach the module.
        NonFiniteError: It is not finite.
    """
    pairs = [(value, part) for value, part in zip(values, direction) if value.requires_grad and part is not None]
    parameters = trainable(generator)
    gradients = (
        torch.autograd.grad([value for value, _ in pairs], parameters, [part for _, part in pairs], allow_unused=True)
        if pairs
        else ()
    )
    if all(gradient is None for gradient in gradients):
        raise UserError(
            f'the task loss does not reach {type(generator).__name__}: no entry of fusion_loss uses the learned '
            f'weights (the argument '
            '`weights` of its criterion). Add one that does'
        )
    gradients = average_gradients(gradients, parameters)
    largest = torch.stack([gradient.abs().max() for gradient in gradients if gradient is not None]).max()
    if not torch.isfinite(largest):
        raise NonFiniteError(
            'the gradient of the loss generation module is not finite: lower the learning rates, '
            'or clip the gradient of the tasks'
        )
    if 'loss_generator' in optim_wrapper:
        wrapper = optim_wrapper['loss_generator']
        set_gradients(parameters, gradients)
        wrapper.step()
        wrapper.zero_grad()
    elif largest > 0:
        eta = optim_wrapper['fuser'].optimizer.param_groups[0]['lr']
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients):
                if gradient is not None:
                    parameter -= eta * (gradient / largest)
    return largest
