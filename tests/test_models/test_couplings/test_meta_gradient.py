"""The gradient of the meta step against finite differences, in double precision: whole, or cut where the class says
so.
"""

import copy

import pytest
import tiny_models
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from tiny_meta import meta

from mmfusion.models.couplings import task_network
from mmfusion.models.couplings.steps.meta_update import fuser_steps
from mmfusion.models.couplings.steps.pair_batch import PairBatch

LR = 0.05


class Keeper(torch.optim.SGD):
    """Keeps the gradients that it is given and steps nowhere."""

    @torch.no_grad()
    def step(self):
        self.kept = [parameter.grad.clone() for parameter in self.param_groups[0]['params']]


def optimizers(coupling):
    parts = dict(
        fuser=torch.optim.SGD(coupling.fuser.parameters(), lr=LR),
        tasks=torch.optim.SGD(coupling.tasks.parameters(), lr=LR),
    )
    return OptimWrapperDict(**{name: OptimWrapper(optimizer) for name, optimizer in parts.items()})


def outer_loss(coupling, batch, tasks=None):
    """Task loss after both trial steps, and the task networks then; with ``tasks`` their step is not made: these are
    taken.
    """
    wrappers, before = optimizers(coupling), copy.deepcopy(coupling.tasks.state_dict())
    buffers = dict(coupling.fuser.named_buffers())
    steps = fuser_steps(coupling, batch, {}, buffers, wrappers['fuser'].optimizer)
    state = {**dict(zip(steps.names, (value.detach() for value in steps.values))), **buffers}
    if tasks is None:
        with torch.no_grad():
            picture = coupling._picture(batch, state if coupling.inner_fuser == 'updated' else None)
        coupling._task_step(*picture, wrappers)
        tasks = copy.deepcopy(coupling.tasks.state_dict())
    coupling.tasks.load_state_dict(tasks)
    with torch.no_grad():
        loss = coupling._task_total(*coupling._picture(batch, state))[0].item()
    coupling.tasks.load_state_dict(before)
    return loss, tasks


def slope(coupling, batch, direction, tasks=None, step=1e-5):
    """Central difference of :func:`outer_loss` along a direction of the loss generation module."""
    values, start = [], [parameter.detach().clone() for parameter in coupling.loss_generator.parameters()]
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, origin, part in zip(coupling.loss_generator.parameters(), start, direction):
                parameter.copy_(origin + sign * step * part)
        values.append(outer_loss(coupling, batch, tasks)[0])
    with torch.no_grad():
        for parameter, origin in zip(coupling.loss_generator.parameters(), start):
            parameter.copy_(origin)
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize('inner_fuser', ['current', 'updated'])
def test_the_gradient_is_that_of_the_formula(inner_fuser, monkeypatch):
    monkeypatch.setattr(torch.Tensor, 'float', torch.Tensor.double)  # preprocessors would go back to single precision
    monkeypatch.setattr(
        task_network, 'straight_through_clamp', lambda image: image
    )  # its gradient is not its slope, on purpose
    torch.manual_seed(0)
    coupling = meta(swap=False, crop_size=None, inner_fuser=inner_fuser).double()
    coupling.tasks['seg'].eval()
    inputs, samples = tiny_models.make_batch(1, 32, 32)
    batch = PairBatch({name: images.double() for name, images in inputs.items()}, samples)
    keeper = Keeper(coupling.loss_generator.parameters(), lr=1.0)
    wrappers = optimizers(coupling)
    coupling.meta_update(
        batch,
        batch,
        batch,
        OptimWrapperDict(fuser=wrappers['fuser'], tasks=wrappers['tasks'], loss_generator=OptimWrapper(keeper)),
    )
    length = sum(part.square().sum() for part in keeper.kept).sqrt()
    direction = [part / length for part in keeper.kept]
    found = length.item()  # slope along its own direction
    _, tasks = outer_loss(coupling, batch)
    at_fixed_tasks, whole = slope(coupling, batch, direction, tasks), slope(coupling, batch, direction)
    assert found == pytest.approx(at_fixed_tasks, rel=1e-3)
    if inner_fuser == 'current':
        assert found == pytest.approx(whole, rel=1e-3)
    else:
        assert abs(whole / found - 1) > 0.01  # the term that is left out
