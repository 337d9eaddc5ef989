"""The meta step and the training step of MetaCoupling: what moves, what stays, and what is refused."""
import copy
import gc

import pytest
import tiny_models
import torch
from meta_step_twin import make_sides
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch.nn.parallel import DistributedDataParallel

from mmfusion.engine import BFloat16OptimWrapper
from mmfusion.models.couplings.training_state import TrainingState
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

SMALL = dict(channels=4, heads=2, blocks=1)
MOE = dict(type='MoEFusion', base_channels=4, expert_channels=4, decoder_channels=(8, ), local_grid=(4, 4), global_grid=(4, 4))
GUIDE = dict(
    type='TwoStreamGuide', in_channels=32, attention_channels=8,
    detector=dict(tiny_models.rtmdet(), data_preprocessor=dict(tiny_models.rtmdet()['data_preprocessor'], batch_augments=None)))


def meta(**options):
    coupling = MODELS.build(dict(dict(
        type='MetaCoupling', fuser=dict(type='ReFusion', **SMALL), loss_generator=dict(type='LossGenerationModule', **SMALL),
        fusion_loss=dict(learned=dict(type='LearnedFusionLoss')), tasks=dict(seg=tiny_models.segmentor()), crop_size=32), **options))
    coupling.init_weights()
    return coupling.train()


def optimizers(coupling, lr=1e-3, **extra):
    parts = {name: OptimWrapper(torch.optim.Adam(getattr(coupling, name).parameters(), lr=lr))
             for name in ('fuser', 'tasks', 'guide') if getattr(coupling, name) is not None}
    return OptimWrapperDict(**{**parts, **extra})


def data(seed=0, number=2, **options):
    """A collated batch of uint8 pictures."""
    inputs, samples = tiny_models.make_batch(number, seed=seed, **options)
    return dict(inputs={name: [(image * 255).byte() for image in images] for name, images in inputs.items()}, data_samples=samples)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


# What moves and what stays ------------------------------------------------------------------------------------------------


def registered_fusers():
    from test_gradient_flow import FUSERS
    return FUSERS


@pytest.mark.parametrize('task', tiny_models.TASKS)
@pytest.mark.parametrize('fuser', registered_fusers())
def test_any_fuser_with_any_task(fuser, task):
    fuser = dict(ReFusion=dict(type='ReFusion', **SMALL), MoEFusion=MOE).get(fuser, dict(type=fuser))
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
    total = sum(value for name, value in log.items() if name.startswith(('meta.det.loss', 'meta.seg.')) and 'loss' in name)
    assert log['meta.loss'].item() == pytest.approx(total.item(), rel=1e-5)


def test_a_guide_learns_in_phase_2_and_rests_in_phase_1():
    coupling = meta(fuser=MOE, guide=GUIDE)
    wrappers, before = optimizers(coupling), state(coupling)
    coupling.meta_step(data(0), data(1), wrappers)
    assert not any(name.startswith('guide.') for name in changed(coupling, before))  # batch norm statistics included
    log = coupling.train_step(data(2), wrappers)
    assert 'guide.first.loss_cls' in log and any(name.startswith('guide.') for name in changed(coupling, before))
    assert all(module.training for module in coupling.guide.modules())
    frozen = meta(fuser=MOE, guide=GUIDE, guide_weight=0.)
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
    keeper = Keeper(coupling.loss_generator.parameters(), lr=1.)
    coupling.meta_update(*batches, optimizers(coupling, lr, loss_generator=OptimWrapper(keeper)))
    return keeper.kept


def test_equals_the_literal_twin():
    """Both from the same weights on the same batches; batch statistics of few pixels and Adam's usual eps would amplify rounding errors."""
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
        loss = coupling.parse_losses(coupling.fusion_losses(fusion, batch.samples, weights=coupling.generate_weights(fusion.first, fusion.second)))[0]
        gradients = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        parameters = {name: value - lr * gradient for (name, value), gradient in zip(parameters.items(), gradients)}
    outer = coupling.parse_losses(coupling.task_losses(coupling.fuse(batch.inputs, {}, parameters).image, batch.samples))[0]
    wanted = torch.autograd.grad(outer, weights)
    tasks = coupling.tasks.parameters()
    keeper = Keeper(coupling.loss_generator.parameters(), lr=1.)
    coupling.meta_update(batch, batch, batch, OptimWrapperDict(
        fuser=OptimWrapper(torch.optim.Adam(coupling.fuser.parameters(), lr=lr)), tasks=OptimWrapper(torch.optim.Adam(tasks, lr=0.)),
        loss_generator=OptimWrapper(keeper)))
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
    batches = [data(0), data(1)]

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
    small, late = result(task_size=(32, 48)), result(task_size=(32, 48), resize='fused')
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
    largest = max((value - before[name]).abs().max().item() for name, value in coupling.loss_generator.state_dict().items())
    assert largest == pytest.approx(lr, rel=1e-4)
    before = state(coupling)
    monkeypatch.setattr(coupling.tasks['seg'], 'loss', lambda image, samples: dict(
        loss_ce=image.sum() * 0 + next(coupling.tasks.parameters()).sum()))
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


# Defects of the published program that are not repeated -----------------------------------------------------------------


def test_the_task_optimizer_keeps_its_moments_through_phase_1():
    for restore in (True, False):
        coupling = meta(restore_moments=restore)
        wrappers = optimizers(coupling)
        coupling.train_step(data(3), wrappers)
        adam = wrappers['tasks'].optimizer
        before = {key: {name: value.clone() for name, value in moments.items()} for key, moments in adam.state.items()}
        weights = state(coupling.tasks)
        coupling.meta_step(data(0), data(1), wrappers)
        same = all(torch.equal(value, before[key][name]) for key, moments in adam.state.items() for name, value in moments.items())
        assert same == restore
        assert not changed(coupling.tasks, weights)


def test_an_optimizer_of_the_loss_module_is_used_or_refused():
    """The published program builds one that never steps."""
    coupling = meta()
    adam = torch.optim.Adam(coupling.loss_generator.parameters(), lr=0.01)  # eps 1e-8
    with pytest.raises(UserError, match='eps=1e-08 swallows'):
        coupling.meta_step(data(0), data(1), optimizers(coupling, loss_generator=OptimWrapper(adam)))


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('builtins.open', lambda *args, **kwargs: pytest.fail(f'opened {args}'))
    monkeypatch.setattr(torch, 'save', lambda *args, **kwargs: pytest.fail('saved'))
    coupling = meta()
    coupling.meta_step(data(0), data(1), optimizers(coupling))
    assert not list(tmp_path.iterdir())


def live_tensors():
    """Number of tensors that are alive, and of those with a graph behind them."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if isinstance(item, torch.Tensor)]
    return len(tensors), sum(tensor.grad_fn is not None for tensor in tensors)


def test_no_graph_and_no_shadow_stays_alive():
    coupling = meta(crop_size=16)
    wrappers, counts = optimizers(coupling), []
    batches = [data(seed, 1, height=16, width=24) for seed in range(2)]
    for step in range(8):
        log = coupling.meta_step(*copy.deepcopy(batches), wrappers)
        if step in (3, 7):
            counts.append(live_tensors())
        assert all(parameter.grad is None for parameter in coupling.parameters())
        assert not any(value.requires_grad for value in log.values())
    assert counts[0] == counts[1] and counts[1][1] == 0, counts
    names = set(coupling.state_dict())
    assert names == {f'{part}.{name}' for part in ('fuser', 'loss_generator', 'tasks') for name in getattr(coupling, part).state_dict()}


def test_training_state_brings_everything_back():
    layer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        layer(torch.rand(5, 3)).square().sum().backward()
        optimizer.step()

    step()
    before, moments = state(layer), copy.deepcopy(optimizer.state_dict())
    saved = TrainingState(layer, optimizer)
    torch.manual_seed(7)
    step()
    after = state(layer)
    saved.restore()
    assert not changed(layer, before) and str(optimizer.state_dict()) == str(moments)
    torch.manual_seed(7)
    step()
    assert not changed(layer, after)  # the same step once more


# Bad input ----------------------------------------------------------------------------------------------------------------


def test_a_batch_without_boxes_works():
    coupling = meta(tasks=dict(det=tiny_models.rtmdet()))
    empty = data(0)
    for sample in empty['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    log = coupling.meta_step(empty, copy.deepcopy(empty), optimizers(coupling))
    assert torch.isfinite(log['meta.loss'])
    assert torch.isfinite(coupling.train_step(copy.deepcopy(empty), optimizers(coupling))['loss'])


def test_labels_of_another_size_and_unknown_classes():
    coupling = meta(tasks=dict(det=tiny_models.rtmdet(), seg=tiny_models.segmentor()))
    wrappers = optimizers(coupling)
    wrong = data(0)
    wrong['data_samples'][1].gt_sem_seg = type(wrong['data_samples'][1].gt_sem_seg)(data=torch.zeros(1, 32, 48, dtype=torch.long))
    with pytest.raises(ValueError, match=r"'001' has the size \(32, 48\) and its image \(64, 96\)"):
        coupling.train_step(wrong, wrappers)
    wrong = data(0)
    wrong['data_samples'][0].gt_sem_seg.data[0, 3, 3] = 7
    with pytest.raises(ValueError, match="sample '000' has class 7, but task 'seg' has num_classes=3"):
        coupling.meta_step(data(1), wrong, wrappers)
    wrong['data_samples'][0].gt_sem_seg.data[0, 3, 3] = 255  # to be ignored
    wrong['data_samples'][0].gt_instances.labels = torch.tensor([0, 3])
    with pytest.raises(ValueError, match="has class 3, but task 'det'"):
        coupling.meta_step(data(1), wrong, wrappers)
    with pytest.raises(ValueError, match='no data_samples'):
        coupling.train_step(dict(inputs=data(0)['inputs']), wrappers)


def test_optimizers_and_precision():
    coupling = meta()
    good = dict(optimizers(coupling).items())

    def refused(message, wrappers):
        with pytest.raises(UserError, match=message):
            coupling.train_step(data(0), wrappers)
        with pytest.raises(UserError, match=message):
            coupling.meta_step(data(0), data(1), wrappers)

    refused('one optimizer for each part', good['fuser'])
    refused(r"no \['tasks'\]", OptimWrapperDict(fuser=good['fuser']))
    refused(r"has \['detector'\], but MetaCoupling knows", OptimWrapperDict(**good, detector=good['tasks']))
    refused('does not accumulate', OptimWrapperDict(fuser=good['fuser'], tasks=OptimWrapper(good['tasks'].optimizer, accumulative_counts=2)))
    refused('trains in float32', OptimWrapperDict(fuser=BFloat16OptimWrapper(good['fuser'].optimizer), tasks=good['tasks']))
    amp = AmpOptimWrapper.__new__(AmpOptimWrapper)  # its constructor wants a GPU
    refused('tasks is a AmpOptimWrapper, but MetaCoupling trains in float32', OptimWrapperDict(fuser=good['fuser'], tasks=amp))
    with torch.autocast('cpu', torch.bfloat16):
        refused('Leave autocast', OptimWrapperDict(**good))
    coupling.half()
    refused('Leave autocast', OptimWrapperDict(**good))


def test_losses_that_do_not_learn():
    coupling = meta(fusion_loss=dict(l1=dict(type='L1FusionLoss')))
    with pytest.raises(UserError, match='does not reach LossGenerationModule'):
        coupling.meta_step(data(0), data(1), optimizers(coupling))
    coupling = meta(task_weights=dict(seg=0.))
    with pytest.raises(UserError, match='needs a task of weight above 0'):
        coupling.meta_step(data(0), data(1), optimizers(coupling))
    assert set(coupling.train_step(data(0), optimizers(coupling))) == {'fusion.loss_learned', 'loss', 'weight_first'}


def test_weights_that_are_not_finite_stop_the_training():
    coupling = meta()
    with torch.no_grad():
        next(coupling.loss_generator.parameters()).fill_(float('nan'))
    with pytest.raises(UserError, match='not finite'):
        coupling.meta_step(data(0), data(1), optimizers(coupling))


def test_parts_that_are_wrapped_one_by_one():
    coupling = meta()
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
    torch.nn.Module.__init__(wrapped)
    wrapped.module = coupling.fuser
    wrappers = optimizers(coupling)
    coupling.fuser = wrapped
    with pytest.raises(UserError, match='wrapped one by one'):
        coupling.meta_update(None, None, None, wrappers)


@pytest.mark.parametrize('options, message', [
    (dict(tasks={}), 'at least one task'),
    (dict(fusion_loss={}), 'needs a fusion loss'),
    (dict(fuser=dict(type='AverageFuser')), 'AverageFuser has no trainable'),
    (dict(crop_size=8), 'crop_size must be'),
    (dict(task_size=(240, )), 'task_size must be'),
    (dict(resize='labels'), 'resize must be one of'),
    (dict(inner_fuser='old'), 'inner_fuser must be one of'),
    (dict(inner_steps=0), 'inner_steps must be at least 1'),
])
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        meta(**options)
