"""The meta step and the training step of MetaCoupling: what moves, what stays, and the numbers."""

import copy

import pytest
import tiny_models
import torch
from meta_step_twin import make_sides
from mmengine.optim import OptimWrapper, OptimWrapperDict
from small_fusers import SMALL as SMALL_FUSERS
from tiny_meta import GUIDE, MOE, SMALL, changed, data, meta, optimizers, state

# What moves and what
# stays ------------------------------------------------------------------------------------------------


def registered_fusers():
    from test_gradient_flow import FUSERS

    return FUSERS


def fusers_and_tasks():
    """Every fuser with one of the tasks, in turn; the other combinations are slow."""
    for index, fuser in enumerate(registered_fusers()):
        for number, task in enumerate(tiny_models.TASKS):
            marks = () if number == index % len(tiny_models.TASKS) else pytest.mark.slow
            yield pytest.param(fuser, task, marks=marks)


@pytest.mark.parametrize('fuser, task', fusers_and_tasks())
def test_any_fuser_with_any_task(fuser, task):
    fuser = dict(ReFusion=dict(type='ReFusion', **SMALL), MoEFusion=MOE).get(
        fuser, dict(type=fuser, **SMALL_FUSERS.get(fuser, {}))
    )
    coupling = meta(fuser=fuser, tasks=dict(task=tiny_models.TASKS[task]()), crop_size=24)
    wrappers = optimizers(coupling)
    coupling.train_step(data(5, 1), wrappers)  # the optimizers have moments to keep
    before, moments = state(coupling), copy.deepcopy(wrappers.state_dict())
    log = coupling.meta_step(data(0, 1), data(1, 1), wrappers)
    moved = changed(coupling, before)
    assert moved and all(name.startswith('loss_generator.') for name in moved)
    assert len(moved) > 0.5 * len(coupling.loss_generator.state_dict())
    assert log['meta.loss'] > 0 and log['meta.max_grad'] > 0
    assert str(wrappers.state_dict()) == str(moments)
    before = state(coupling)
    log = coupling.train_step(data(2, 1), wrappers)
    assert {name.split('.')[0] for name in changed(coupling, before)} == {'fuser', 'tasks'}
    assert torch.isfinite(log['loss'])


def test_several_tasks_add_with_their_weights():
    coupling = meta(tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()), task_weights=dict(seg=0.5))
    log = coupling.meta_step(data(0), data(1), optimizers(coupling))
    total = sum(
        value for name, value in log.items() if name.startswith(('meta.det.loss', 'meta.seg.')) and 'loss' in name
    )
    assert log['meta.loss'].item() == pytest.approx(total.item(), rel=1e-5)


def test_a_guide_learns_in_phase_2_and_rests_in_phase_1():
    coupling = meta(fuser=MOE, guide=GUIDE)
    wrappers, before = optimizers(coupling), state(coupling)
    coupling.meta_step(data(0), data(1), wrappers)
    assert not any(name.startswith('guide.') for name in changed(coupling, before))  # batch norm statistics included
    log = coupling.train_step(data(2), wrappers)
    assert 'guide.first.loss_cls' in log and any(name.startswith('guide.') for name in changed(coupling, before))
    assert all(module.training for module in coupling.guide.modules())
    frozen = meta(fuser=MOE, guide=GUIDE, guide_weight=0.0)
    parts = {name: wrapper for name, wrapper in optimizers(frozen).items() if name != 'guide'}
    assert not any(name.startswith('guide') for name in frozen.train_step(data(2), OptimWrapperDict(**parts)))
    assert not frozen.guide.training


# Numbers ------------------------------------------------------------------------------------------------------------------


class Keeper(torch.optim.SGD):
    """Keeps the gradients that it is given and steps nowhere."""

    @torch.no_grad()
    def step(self):
        self.kept = [parameter.grad.clone() for parameter in self.param_groups[0]['params']]


def kept_gradient(coupling, *batches, lr=1e-3):
    keeper = Keeper(coupling.loss_generator.parameters(), lr=1.0)
    coupling.meta_update(*batches, optimizers(coupling, lr, loss_generator=OptimWrapper(keeper)))
    return keeper.kept


def test_equals_the_literal_twin():
    """Both from the same weights on the same batches; batch statistics of few pixels and Adam's usual eps would amplify
    rounding errors.
    """
    ours, theirs, step, twin = make_sides((32, 40), (32, 48), tiny_models.segmentor(), eps=1e-3)
    for module in (*ours.tasks.modules(), *theirs.tasks.modules()):
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    log, wanted = step(), twin()
    assert log['meta.loss'].item() == pytest.approx(wanted['loss_outer'], rel=1e-5)
    assert log['meta.loss_inner'].item() == pytest.approx(wanted['loss_inner'], rel=1e-5)
    assert log['meta.loss_fusion'].item() == pytest.approx(wanted['loss_f'], rel=1e-5)
    largest = max(gradient.abs().max() for gradient in wanted['gradients'].values())
    assert log['meta.max_grad'].item() == pytest.approx(largest.item(), rel=1e-3)
    for name, value in ours.loss_generator.state_dict().items():
        assert (value - theirs.loss_generator.state_dict()[name]).abs().max() < 2e-3 * 1e-4, name  # of a step of 1e-4


def test_two_inner_steps_are_differentiated_through():
    """Against the unrolled formula, in one piece of autograd."""
    coupling = meta(inner_steps=2, swap=False)
    batch = coupling._load(data(0, 1, height=32, width=32))
    coupling.tasks['seg'].eval()  # the task's own step must not move its loss by rounding
    lr = 0.05
    parameters = dict(coupling.fuser.named_parameters())
    weights = list(coupling.loss_generator.parameters())
    for _ in range(2):
        fusion = coupling.fuse(batch.inputs, {}, parameters)
        loss = coupling.parse_losses(
            coupling.fusion_losses(
                fusion, batch.samples, weights=coupling.generate_weights(fusion.first, fusion.second)
            )
        )[0]
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        parameters = {name: value - lr * gradient for (name, value), gradient in zip(parameters.items(), gradients)}
    outer = coupling.parse_losses(
        coupling.task_losses(coupling.fuse(batch.inputs, {}, parameters).image, batch.samples)
    )[0]
    wanted = torch.autograd.grad(outer, weights)
    tasks = coupling.tasks.parameters()
    keeper = Keeper(coupling.loss_generator.parameters(), lr=1.0)
    coupling.meta_update(
        batch,
        batch,
        batch,
        OptimWrapperDict(
            fuser=OptimWrapper(torch.optim.Adam(coupling.fuser.parameters(), lr=lr)),
            tasks=OptimWrapper(torch.optim.Adam(tasks, lr=0.0)),
            loss_generator=OptimWrapper(keeper),
        ),
    )
    largest = max(gradient.abs().max() for gradient in wanted)
    for found, value in zip(keeper.kept, wanted):
        assert (found - value).abs().max() < 1e-4 * largest


def test_a_small_meta_step_lowers_the_task_loss_of_the_updated_fuser():
    """The direction is right: with a step of the generator the same outer problem gets better, against it worse."""
    torch.manual_seed(0)
    coupling = meta(swap=False, crop_size=None)
    batch = coupling._load(data(0))
    coupling.tasks['seg'].eval()
    gradients = kept_gradient(coupling, batch, batch, batch, lr=0.05)
    start, losses = state(coupling.loss_generator), []
    largest = max(gradient.abs().max() for gradient in gradients)
    for sign in (-1, 1):
        coupling.loss_generator.load_state_dict(start)
        with torch.no_grad():
            for parameter, gradient in zip(coupling.loss_generator.parameters(), gradients):
                parameter += sign * 0.02 * gradient / largest
        losses.append(coupling.meta_update(batch, batch, batch, optimizers(coupling, 0.05))['meta.loss'].item())
    assert losses[0] < losses[1]


def test_options_change_what_they_say():
    batches = [data(seed, 1, height=48, width=64) for seed in range(2)]

    def result(**options):
        torch.manual_seed(1)
        coupling = meta(**options)
        torch.manual_seed(2)
        return coupling.meta_step(*copy.deepcopy(batches), optimizers(coupling, lr=0.05))

    plain = result()
    assert result()['meta.loss'] == plain['meta.loss']
    assert result(inner_fuser='updated')['meta.loss_inner'] != plain['meta.loss_inner']
    assert result(inner_steps=2)['meta.max_grad'] != plain['meta.max_grad']
    assert result(swap=False)['meta.loss_fusion'] != plain['meta.loss_fusion']
    small, late = result(task_size=(32, 40)), result(task_size=(32, 40), resize='fused')
    assert len({plain['meta.loss'].item(), small['meta.loss'].item(), late['meta.loss'].item()}) == 3
    paper = result(fusion_loss=dict(learned=dict(type='LearnedFusionLoss', squared_weights=False)))
    assert paper['meta.loss_fusion'] > plain['meta.loss_fusion']


def test_an_adaptive_optimizer_steps_in_place_of_the_normalised_step():
    coupling = meta()
    adam = torch.optim.Adam(coupling.loss_generator.parameters(), lr=0.01, eps=1e-12)
    before = state(coupling.loss_generator)
    coupling.meta_step(data(0), data(1), optimizers(coupling, loss_generator=OptimWrapper(adam)))
    steps = [(value - before[name]).abs().max().item() for name, value in coupling.loss_generator.state_dict().items()]
    assert max(steps) == pytest.approx(0.01, rel=0.05) and len(adam.state) > 0


def test_the_normalised_step_is_as_long_as_the_learning_rate_and_nothing_without_gradient(monkeypatch):
    coupling, lr = meta(), 3e-3
    before = state(coupling.loss_generator)
    coupling.meta_step(data(0), data(1), optimizers(coupling, lr))
    largest = max(
        (value - before[name]).abs().max().item() for name, value in coupling.loss_generator.state_dict().items()
    )
    assert largest == pytest.approx(lr, rel=1e-4)
    before = state(coupling)
    monkeypatch.setattr(
        coupling.tasks['seg'],
        'loss',
        lambda image, samples: dict(loss_ce=image.sum() * 0 + next(coupling.tasks.parameters()).sum()),
    )
    log = coupling.meta_step(data(0), data(1), optimizers(coupling, lr))
    assert log['meta.max_grad'] == 0 and not changed(coupling, before)


def test_predictions_are_made_at_task_size_and_come_back_at_the_original():
    coupling = meta(tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()), task_size=(32, 64)).eval()
    for layer in coupling.tasks['det'].network.bbox_head.rtm_reg:
        torch.nn.init.ones_(layer.bias)  # boxes of some size everywhere
    inputs, samples = tiny_models.make_batch(1)
    samples[0].set_metainfo(dict(ori_shape=(128, 192), scale_factor=(0.5, 0.5)))
    seen = {}
    network = coupling.tasks['det'].network
    network.register_forward_pre_hook(lambda module, args: seen.update(shape=args[0].shape))
    with torch.no_grad():
        result = coupling(inputs, samples, mode='predict')[0]
    assert seen['shape'][-2:] == (32, 64)
    assert result.fused.data.shape == (3, 64, 96) and result.pred_sem_seg.data.shape == (1, 128, 192)
    boxes = result.pred_instances.bboxes
    assert len(boxes) and boxes[:, 0::2].max() <= 192 and boxes[:, 1::2].max() <= 128 and boxes[:, 2].max() > 96
