"""SearchCoupling: the step against slowly computed gradients, a planted best operation, the latency term, and what is
refused.
"""

import copy
from functools import cache

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper, OptimWrapperDict
from tiny_meta import changed, data, state

from mmfusion.engine import PartOptimWrapperConstructor
from mmfusion.models.couplings import SearchCoupling
from mmfusion.models.couplings.steps.implicit_gradient import implicit_gradient
from mmfusion.models.couplings.steps.latency_table import load_latency_table, save_latency_table
from mmfusion.models.fusers.tim.supernet import MixedOperation
from mmfusion.profiling.latency import format_latency, measure_latency
from mmfusion.registry import MODELS
from mmfusion.utils import UserError

FUSER = dict(
    type='SearchableTIM',
    cells=[dict(kind='chain', length=2)],
    candidates=('residual_3_1', 'eca_3', 'spatial_3'),
    width=4,
)
LOSS = dict(l1=dict(type='L1FusionLoss'), pixel=dict(type='MaxIntensityLoss'))


@MODELS.register_module()
class TeacherLoss(torch.nn.Module):
    """Test double: the fused image should be that of a teacher, which is no part of the model."""

    teacher = ()

    def forward(self, fused, first, second, **context):
        with torch.no_grad():
            wanted = self.teacher[0](first, second).fused
        return F.mse_loss(fused, wanted) * 100


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(dict(type='SearchCoupling', fuser=FUSER, fusion_loss=LOSS), **options)).train()


def sgd(model, lr=0.01):
    parts = {name: dict(optimizer=dict(type='SGD', lr=lr)) for name in model.learning_parts()}
    return PartOptimWrapperConstructor(parts)(model)


@pytest.mark.parametrize('upper', ['fusion', 'task', 'both'])
@pytest.mark.parametrize('legacy', [False, True])
def test_step_is_the_implicit_gradient_of_losses_computed_one_by_one(upper, legacy):
    model = build(upper=upper, legacy_sign=legacy, tasks=dict(task=tiny_models.segmentor()))
    before = state(model)
    weights, architecture = list(model.fuser.network.parameters()), list(model.fuser.architecture.parameters())

    def losses(batch, detach):
        batch = model.data_preprocessor(batch, True)
        fusion = model.fuse(batch['inputs'])
        own = model.parse_losses(model.fusion_losses(fusion, batch['data_samples']))[0]
        task = model.parse_losses(
            model.task_losses(fusion.image.detach() if detach else fusion.image, batch['data_samples'])
        )[0]
        return own, task

    own, task = losses(data(1), False)
    high = dict(fusion=own, task=task, both=own + task)[upper]
    low, of_tasks = losses(data(0), True)
    wanted = implicit_gradient(high, low, weights, architecture, legacy, 0.01)
    wanted_tasks = torch.autograd.grad(of_tasks, list(model.tasks.parameters()))
    model.load_state_dict(before)  # batch norm statistics
    log = model.search_step(data(0), data(1), sgd(model))
    after = model.state_dict()

    def moved(name):
        return (before[name] - after[name]) / 0.01

    torch.testing.assert_close(moved('fuser.architecture.alpha'), wanted.values[0], atol=1e-4, rtol=1e-3)
    for name, gradient in zip(dict(model.fuser.network.named_parameters()), wanted.lower_weights):
        torch.testing.assert_close(moved(f'fuser.network.{name}'), gradient, atol=2e-4, rtol=2e-3)
    for name, gradient in zip(dict(model.tasks.named_parameters()), wanted_tasks):
        torch.testing.assert_close(moved(f'tasks.{name}'), gradient, atol=2e-3, rtol=2e-3)
    assert log['search.coefficient'].item() == pytest.approx(wanted.coefficient.item(), rel=1e-3)
    assert log['upper.loss'].item() == pytest.approx(high.item(), rel=1e-4) and 0.9 < log['search.entropy'] <= 1
    assert all(parameter.grad is None for parameter in model.parameters())


def test_training_step_leaves_the_architecture_alone():
    model = build()
    before = state(model)
    model.train_step(data(0), sgd(model))
    names = changed(model, before)
    assert 'fuser.architecture.alpha' not in names and any(name.startswith('fuser.network') for name in names)


def test_frozen_task_networks_judge_without_learning():
    model = build(upper='task', tasks=dict(task=tiny_models.segmentor()))
    model.tasks.requires_grad_(False)
    assert set(model.learning_parts()) == {'fuser', 'architecture'}
    before = state(model)
    model.search_step(data(0), data(1), sgd(model))
    names = changed(model, before)
    assert 'fuser.architecture.alpha' in names and not names & {
        f'tasks.{name}' for name, _ in model.tasks.named_parameters()
    }


MILLISECONDS = dict(residual_3_1=4.0, eca_3=2.0, dil_conv_3_2=8.0, spatial_3=1.0)


def table_of(**milliseconds):
    return dict(milliseconds={'cells.0.0': milliseconds}, machine=dict(device='cpu'), size=(16, 16))


@cache
def search(planted, seed, latency_weight=0.0, steps=60):
    """Search for a teacher that has one operation alone; the supernet starts with the weights of that one, the others
    are drawn anew.
    """
    torch.manual_seed(seed)
    fuser = dict(FUSER, cells=[dict(kind='chain', length=1)], candidates=tuple(MILLISECONDS), width=8)
    model = MODELS.build(
        dict(
            type='SearchCoupling',
            fuser=fuser,
            fusion_loss=dict(teacher=dict(type='TeacherLoss')),
            latency_table=table_of(**MILLISECONDS),
            latency_weight=latency_weight,
        )
    ).train()
    teacher = copy.deepcopy(model.fuser)
    teacher.architecture.alpha.data[0, fuser['candidates'].index(planted)] = 40.0
    model.fusion_loss['teacher'].teacher = (teacher,)
    mixture = next(module for module in model.fuser.modules() if isinstance(module, MixedOperation))
    for name, candidate in mixture.candidates.items():
        for layer in candidate.modules() if name != planted else ():
            if hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()
    wrappers = PartOptimWrapperConstructor(
        dict(
            fuser=dict(optimizer=dict(type='Adam', lr=2e-3)),
            architecture=dict(optimizer=dict(type='Adam', lr=0.1, betas=(0.5, 0.999))),
        )
    )(model)
    for step in range(steps):
        parts = (
            tiny_models.make_batch(4, 16, 16, seed=10000 * seed + 2 * step + part, first_channels=1)
            for part in range(2)
        )
        model.search_step(
            *(dict(inputs={name: list(value) for name, value in x[0].items()}, data_samples=x[1]) for x in parts),
            wrappers,
        )
    return model


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('planted', MILLISECONDS)
def test_planted_best_operation_is_found(planted, seed):
    model = search(planted, seed)
    assert model.fuser.genotype().cells[0].operations == (planted,)
    others, best = model.fuser.architecture.probabilities()[0].sort().values.split([len(MILLISECONDS) - 1, 1])
    assert best > 1.5 * others.max()


@pytest.mark.parametrize('seed', [0, 1])
def test_a_larger_latency_weight_ends_in_a_faster_network(seed):
    models = [
        search('dil_conv_3_2', seed, weight) for weight in (0.0, 0.03, 0.3, 3.0)
    ]  # the best operation is the slowest
    expected = [model.relative_latency().item() for model in models]
    assert all(slow > 1.2 * fast for slow, fast in zip(expected, expected[1:])), expected
    found = [MILLISECONDS[model.fuser.genotype().cells[0].operations[0]] for model in models]
    assert found[0] == 8.0 and found[-1] == 1.0 and found == sorted(found, reverse=True)


def test_latency_is_measured_where_the_features_are(tmp_path):
    fuser = MODELS.build(dict(FUSER, cells=[dict(kind='chain', length=1), dict(kind='multiscale', length=1)])).train()
    before = state(fuser)
    table = measure_latency(fuser, (16, 20), repeats=2)
    assert set(table.milliseconds) == {'cells.0.0', 'cells.1.0'} and set(table.milliseconds['cells.1.0']) == set(
        FUSER['candidates']
    )
    assert all(value > 0 for row in table.milliseconds.values() for value in row.values())
    assert table.size == (16, 20) and table.machine['device'] == 'cpu' and table.machine['torch'] == torch.__version__
    assert fuser.training and not changed(fuser, before)
    save_latency_table(table, tmp_path / 'sub' / 'latency.json')
    again = load_latency_table(tmp_path / 'sub' / 'latency.json')
    values = again.tensor(fuser.architecture.positions, fuser.architecture.candidates)
    assert values.shape == (2, 3) and values[0, 1].item() == pytest.approx(
        table.milliseconds['cells.0.0']['eca_3'], abs=1e-5
    )
    assert 'cells.1.0: ' in format_latency(again)
    with pytest.raises(ValueError, match='no mixtures'):
        measure_latency(MODELS.build(dict(type='TIM', genotype='fusion_light', width=4)))


def test_relative_latency_is_one_for_equal_weights():
    model = build(
        latency_table=dict(
            milliseconds={
                position: dict(residual_3_1=3.0, eca_3=5.0, spatial_3=1.0) for position in ('cells.0.0', 'cells.0.1')
            },
            machine=dict(device='x'),
            size=(8, 8),
        ),
        latency_weight=1.0,
    )
    model.fuser.architecture.alpha.data.zero_()
    assert model.relative_latency().item() == pytest.approx(1.0)
    model.fuser.architecture.alpha.data[:, 2] = 50.0  # all weight on the fastest
    assert model.relative_latency().item() == pytest.approx(2 / 6)
    assert 'latency' not in model.state_dict()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(fuser=dict(type='TIM', genotype='fusion_light', width=4)), 'can be searched'),
        (dict(fusion_loss={}), 'needs a lower problem'),
        (dict(upper='task'), 'with tasks'),
        (dict(upper='both', tasks={}), 'with tasks'),
        (dict(latency_weight=1.0), 'needs a latency_table'),
        (dict(latency_weight=-1.0), 'at least 0'),
        (dict(latency_table=table_of(eca_3=1.0)), 'does not fit the supernet'),
        (dict(latency_table=dict(milliseconds={})), 'not a latency table'),
        (
            dict(
                latency_table=dict(
                    table_of(), milliseconds={f'cells.0.{i}': dict.fromkeys(FUSER['candidates'], 0.0) for i in range(2)}
                )
            ),
            'positive',
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_bad_files_and_optimizers(tmp_path):
    with pytest.raises(FileNotFoundError, match='mmfusion latency'):
        build(latency_table=str(tmp_path / 'none.json'))
    (tmp_path / 'bad.json').write_text('{')
    with pytest.raises(ValueError, match='is not JSON'):
        build(latency_table=str(tmp_path / 'bad.json'))
    model = build()
    one = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    with pytest.raises(UserError, match='one optimizer for each part'):
        model.search_step(data(0), data(1), one)
    with pytest.raises(UserError, match=r"has no \['architecture'\]"):
        model.search_step(
            data(0),
            data(1),
            OptimWrapperDict(fuser=OptimWrapper(torch.optim.SGD(model.fuser.network.parameters(), lr=1.0))),
        )
    assert isinstance(model, SearchCoupling)
