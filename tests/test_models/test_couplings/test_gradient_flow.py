"""The promise of the toolkit: the task's loss reaches the fuser in joint mode, and not at all when detached. Every
fuser, every kind of task.
"""

import pytest
import tiny_models
import torch
from small_fusers import SMALL

from mmfusion.models.fusers import BaseFuser
from mmfusion.registry import MODELS
from mmfusion.utils import register_all_modules

register_all_modules()


def registered_fusers():
    """Every fuser in the registry that ships with the package and has parameters."""
    classes = [
        (name, cls)
        for name, cls in sorted(MODELS.module_dict.items())
        if isinstance(cls, type) and issubclass(cls, BaseFuser) and cls.__module__.startswith('mmfusion.')
    ]
    return [name for name, cls in classes if any(True for _ in cls(**SMALL.get(name, {})).parameters())]


FUSERS = registered_fusers()


def task_loss(fuser, task, detach):
    torch.manual_seed(0)
    fuser = dict(type=fuser, **SMALL.get(fuser, {}))
    model = MODELS.build(
        dict(type='JointCoupling', fuser=fuser, tasks=dict(task=tiny_models.TASKS[task]()), detach=detach)
    )
    model.init_weights()
    for parameter in model.fuser.parameters():
        if not parameter.any():  # layers that begin at zero pass a gradient on from the second step on
            torch.nn.init.normal_(parameter, std=0.01)
    inputs, samples = tiny_models.make_batch()
    losses = model.train()(inputs, samples, mode='loss')
    total = sum(
        sum(v) if isinstance(v, (list, tuple)) else v
        for k, v in losses.items()
        if k.startswith('task.') and 'loss' in k
    )
    return model, total


def test_there_are_fusers_to_test():
    assert 'MoEFusion' in FUSERS


@pytest.mark.parametrize('task', tiny_models.TASKS)
@pytest.mark.parametrize('fuser', FUSERS)
def test_task_loss_alone_trains_the_fuser(fuser, task):
    model, total = task_loss(fuser, task, detach=False)
    total.backward()
    norms = {
        name: 0.0 if p.grad is None else p.grad.norm().item()
        for name, p in model.fuser.named_parameters()
        if p.requires_grad
    }
    assert all(torch.isfinite(torch.tensor(value)) for value in norms.values())
    without = [name for name, value in norms.items() if value == 0]
    # Experts that were not chosen, and gates of zero-initialized mixtures, may stay without; a tenth of the tensors is
    # far too few.
    assert len(norms) - len(without) > 0.3 * len(norms), f'no gradient from the task at {without}'
    assert sum(value**2 for value in norms.values()) > 0


@pytest.mark.parametrize('task', tiny_models.TASKS)
@pytest.mark.parametrize('fuser', FUSERS)
def test_detached_fuser_gets_exactly_nothing(fuser, task):
    model, total = task_loss(fuser, task, detach=True)
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.fuser.parameters())
    assert any(p.grad is not None and p.grad.any() for p in model.tasks.parameters())
