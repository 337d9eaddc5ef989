"""BilevelCoupling: the direction it steps along, whom each loss reaches, any fuser with any task, and what it
refuses.
"""

import math

import pytest
import tiny_models
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from tiny_meta import GUIDE, MOE, changed, data, state

from mmfusion.engine import BFloat16OptimWrapper
from mmfusion.models.couplings import BilevelCoupling, JointCoupling
from mmfusion.models.couplings.bilevel import bilevel_direction
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

TIM = dict(type='TIM', genotype='fusion_light', width=4)
LOSS = dict(l1=dict(type='L1FusionLoss'), pixel=dict(type='MaxIntensityLoss', loss_weight=2.0))


def build(kind='BilevelCoupling', fuser=TIM, task='segmentor', **options):
    torch.manual_seed(0)
    coupling = MODELS.build(
        dict(dict(type=kind, fuser=fuser, tasks=dict(task=tiny_models.TASKS[task]()), fusion_loss=LOSS), **options)
    )
    return coupling.train()


def sgd(module, lr=1.0):
    return OptimWrapper(torch.optim.SGD(module.parameters(), lr=lr))


def by_part(coupling, lr=1.0, **extra):
    parts = {
        name: sgd(getattr(coupling, name), lr)
        for name in ('fuser', 'tasks', 'guide')
        if getattr(coupling, name) is not None
    }
    return OptimWrapperDict(**{**parts, **extra})


# The
# direction ---------------------------------------------------------------------------------------------------------------------


def test_direction_is_orthogonal_and_keeps_the_descent_of_the_lower_loss():
    upper, lower = [torch.randn(3, 2), None, torch.randn(4)], [torch.randn(3, 2), torch.randn(5), None]
    for weight in (0.0, 0.5, 20.0):
        values, coefficient, cosine = bilevel_direction(upper, lower, weight)
        flat = torch.cat([value.reshape(-1) for value in values])
        f = torch.cat([lower[0].reshape(-1), lower[1], torch.zeros(4)])
        F = torch.cat([upper[0].reshape(-1), torch.zeros(5), upper[2]])
        assert (flat @ f).item() == pytest.approx((f @ f).item(), rel=1e-4)
        torch.testing.assert_close(flat, f + weight * (F - (F @ f) / (f @ f) * f), atol=1e-5, rtol=1e-5)
        assert cosine.item() == pytest.approx(torch.nn.functional.cosine_similarity(f, F, dim=0).item(), abs=1e-5)


class Toy:
    """f pulls w onto a plane (A w = b), F pulls it to a point off the plane; the best point of the plane is known in
    closed form.
    """

    def __init__(self, constraints, size=6, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.matrix, _ = torch.linalg.qr(torch.randn(size, constraints, generator=generator, dtype=torch.double))
        self.matrix = self.matrix.T * torch.linspace(1, 1.5, constraints, dtype=torch.double)[:, None]
        self.offset = torch.randn(constraints, generator=generator, dtype=torch.double)
        self.target = 2 * torch.randn(size, generator=generator, dtype=torch.double)
        self.best = self.target - torch.linalg.pinv(self.matrix) @ (self.matrix @ self.target - self.offset)

    def lower(self, w):
        return ((self.matrix @ w - self.offset) ** 2).sum() / 2

    def upper(self, w):
        return ((w - self.target) ** 2).sum() / 2

    def train(self, rule, steps, lr=0.1):
        """Gradient steps whose length falls to nothing along a cosine, as in the shipped schedules; the same for every
        rule.
        """
        w = torch.zeros_like(self.target)
        for step in range(steps):
            f, F = self.matrix.T @ (self.matrix @ w - self.offset), w - self.target
            w = w - lr * (1 + math.cos(math.pi * step / steps)) / 2 * rule(F, f)
        return self.lower(w).item(), self.upper(w).item()


@pytest.mark.parametrize('constraints', [1, 2, 3])
def test_it_finds_the_best_of_the_fusion_optima_and_weighted_sums_do_not(constraints):
    """Every weighted sum ends farther off the plane, or behind in the task loss, or both; the bilevel rule ends in the
    best point of the plane.
    """
    toy, steps = Toy(constraints), 400
    wanted = toy.upper(toy.best).item()
    lower, upper = toy.train(lambda F, f: bilevel_direction([F], [f], 1.0).values[0], steps)
    assert lower < 1e-3 and upper == pytest.approx(wanted, rel=0.02)
    for weight in (10.0, 1.0, 0.1, 0.03, 0.01, 0.001, 0.0001):
        sum_lower, sum_upper = toy.train(lambda F, f, weight=weight: (f + weight * F) / max(1.0, weight), steps)
        assert sum_lower > 5 * lower or sum_upper > 1.1 * upper, (weight, sum_lower, sum_upper)
    cascade = toy.train(lambda F, f: f, steps)
    assert (
        cascade[0] < 1e-6 and cascade[1] > 1.1 * upper
    )  # an optimum of the fusion loss too, and a worse one for the task


def test_average_gradient_projects_better_than_noisy_ones():
    """Near the plane single gradients of f are noise, and projecting on them leaves the conflict in."""
    toy, noise = Toy(1), torch.Generator().manual_seed(3)
    average = torch.zeros_like(toy.target)

    def noisy(f):
        return f + 0.5 * torch.randn(f.shape, generator=noise, dtype=torch.double)

    def with_average(F, f):
        f = noisy(f)
        average.lerp_(f, 0.02)
        return bilevel_direction([F], [f], 1.0, [average]).values[0]

    single = toy.train(lambda F, f: bilevel_direction([F], [noisy(f)], 1.0).values[0], 600, lr=0.05)
    averaged = toy.train(with_average, 600, lr=0.05)
    assert averaged[0] < 0.3 * single[0]


# The
# coupling ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'fuser, task, guide',
    [(TIM, 'segmentor', None), (MOE, 'rtmdet', GUIDE), (MOE, 'segmentor', None)],
    ids=['TIM-segmentor', 'MoEFusion-RTMDet-guide', 'MoEFusion-segmentor'],
)
def test_step_is_the_direction_of_slowly_computed_gradients(fuser, task, guide):
    """One SGD step against gradients of the losses one by one, for two kinds of fuser and of task."""
    model = build(fuser=fuser, task=task, guide=guide, upper_weight=0.7, task_weights=dict(task=0.5))
    batch = data(0)
    inputs = model.data_preprocessor(batch, True)
    before = state(model)
    torch.manual_seed(5)
    losses = model(inputs['inputs'], inputs['data_samples'], mode='loss')

    def grads(prefix, part):
        chosen = {name: value for name, value in losses.items() if name.startswith(prefix)}
        return torch.autograd.grad(
            model.parse_losses(chosen)[0], list(part.parameters()), retain_graph=True, allow_unused=True
        )

    F, f = grads('task.', model.fuser), grads(('fusion.', 'fuser.'), model.fuser)
    wanted = bilevel_direction(F, f, 0.7)
    wanted_task = grads('task.', model.tasks)
    model.load_state_dict(before)  # batch norm statistics
    torch.manual_seed(5)
    log = model.train_step(data(0), by_part(model, lr=0.01))
    after = model.state_dict()
    for name, gradient in zip(dict(model.fuser.named_parameters()), wanted.values):
        moved = (before[f'fuser.{name}'] - after[f'fuser.{name}']) / 0.01
        torch.testing.assert_close(
            moved, torch.zeros_like(moved) if gradient is None else gradient, atol=2e-4, rtol=2e-3
        )
    for name, gradient in zip(dict(model.tasks.named_parameters()), wanted_task):
        moved = (before[f'tasks.{name}'] - after[f'tasks.{name}']) / 0.01
        torch.testing.assert_close(
            moved, torch.zeros_like(moved) if gradient is None else gradient, atol=2e-3, rtol=2e-3
        )
    assert log['bilevel.coefficient'].item() == pytest.approx(wanted.coefficient.item(), rel=1e-3, abs=1e-5)
    assert -1 <= log['bilevel.cosine'] <= 1 and torch.isfinite(log['loss'])
    assert guide is None or any(name.startswith('guide.') for name in changed(model, before))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    'fuser, task',
    [(TIM, task) for task in tiny_models.TASKS] + [(MOE, 'rtmdet')],
    ids=[f'TIM-{task}' for task in tiny_models.TASKS] + ['MoEFusion-rtmdet'],
)
def test_every_kind_of_task_reaches_the_fuser(fuser, task):
    """The fuser moves otherwise than without a task, and the network of the task as in a joint training."""
    moved = []
    for weight in (0.0, 1.0):
        model = build(fuser=fuser, task=task, upper_weight=weight)
        torch.manual_seed(7)
        model.train_step(data(0), by_part(model, lr=0.01))
        moved.append(state(model))
    parts = {
        name.split('.')[0] for name in moved[0] if not torch.allclose(moved[0][name], moved[1][name], atol=0, rtol=0)
    }
    assert parts == {'fuser'}


def test_without_upper_weight_it_is_the_cascade():
    cascade, bilevel = build('JointCoupling', detach=True), build(upper_weight=0.0)
    for model in (cascade, bilevel):
        model.train_step(data(0), sgd(model, 0.01))
    for name, value in cascade.state_dict().items():
        torch.testing.assert_close(bilevel.state_dict()[name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('upper_weight', [1.0, 0.0])
def test_frozen_task_networks_judge_without_learning(upper_weight):
    coupling = build(upper_weight=upper_weight)
    coupling.tasks.requires_grad_(False)
    before = state(coupling)
    log = coupling.train_step(data(0), OptimWrapperDict(fuser=sgd(coupling.fuser, 0.01)))
    names = changed(coupling, before)
    assert any(name.startswith('fuser') for name in names) and not names & {
        f'tasks.{name}' for name, _ in coupling.tasks.named_parameters()
    }
    assert ('bilevel.cosine' in log) == (upper_weight > 0)


def test_one_optimizer_for_all_equals_one_for_each():
    first, second = build(), build()
    first.train_step(data(0), sgd(first, 0.01))
    second.train_step(data(0), by_part(second, 0.01))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_task_of_weight_zero_leaves_the_fusion_loss_alone():
    model = build(task_weights=dict(task=0.0))
    before = state(model)
    log = model.train_step(data(0), by_part(model))
    names = changed(model, before)
    assert any(name.startswith('fuser.') for name in names) and not any(name.startswith('tasks.') for name in names)
    assert 'bilevel.coefficient' not in log


def test_moving_average_is_stored_and_changes_the_step():
    plain, model = build(), build(momentum=0.9)
    assert 'lower_average' not in plain.state_dict() and not model.state_dict()['lower_average'].any()
    for seed in range(2):
        for each in (plain, model):
            torch.manual_seed(seed)
            each.train_step(data(seed), by_part(each, 0.01))
        equal = all(
            torch.allclose(value, plain.state_dict()[name], atol=1e-6)
            for name, value in model.fuser.state_dict(prefix='fuser.').items()
        )
        assert equal == (seed == 0)  # an average over one step is that step
    assert model.state_dict()['lower_average'].any()


def test_bfloat16():
    model = build()
    before = state(model)
    log = model.train_step(
        data(0),
        OptimWrapperDict(
            **{
                name: BFloat16OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=0.01))
                for name in ('fuser', 'tasks')
            }
        ),
    )
    assert torch.isfinite(log['loss']) and all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert {name.split('.')[0] for name in changed(model, before)} == {'fuser', 'tasks'}


def test_it_is_a_joint_coupling_by_another_rule():
    model, joint = build(), build('JointCoupling')
    assert isinstance(model, JointCoupling) and isinstance(model, BilevelCoupling)
    inputs, samples = tiny_models.make_batch()
    losses = [each(inputs, samples, mode='loss') for each in (model, joint)]
    assert losses[0].keys() == losses[1].keys()
    torch.testing.assert_close(model.parse_losses(losses[0])[0], joint.parse_losses(losses[1])[0])


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(fusion_loss={}), 'needs a lower problem'),
        (dict(fuser=dict(type='AverageFuser')), 'needs a fuser that learns'),
        (dict(upper_weight=-1.0), 'at least 0'),
        (dict(momentum=1.0), 'below 1'),
        (dict(detach=True), 'upper_weight=0'),
        (dict(tasks={}), 'at least one task'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_bad_optimizers():
    model = build()
    sharing = OptimWrapper(torch.optim.SGD(model.fuser.parameters(), lr=1.0))
    cases = [
        (sharing, 'leaves weights of BilevelCoupling out'),
        (OptimWrapperDict(fuser=sharing), r"has no \['tasks'\]"),
        (by_part(model, loss_generator=sharing), r"has \['loss_generator'\]"),
        (OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=2), 'does not accumulate'),
    ]
    for wrapper, message in cases:
        with pytest.raises(UserError, match=message):
            model.train_step(data(0), wrapper)


@pytest.mark.gpu
def test_loss_scale_is_refused():
    model = build().cuda()
    with pytest.raises(UserError, match='loss scale'):
        model.train_step(data(0), AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0)))
