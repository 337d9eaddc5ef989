"""What the benchmark times and what the operation counter counts; the numbers themselves belong to the machine."""

import doctest
import importlib
import json

import pytest
import torch
from mmengine.config import Config
from tiny_models import rtmdet, segmentor
from torch import nn

from mmfusion.apis.build import build_coupling
from mmfusion.models.fusers import BaseFuser, FuserOutput
from mmfusion.profiling.benchmark import Workload, format_result, joint_overhead, run_benchmark
from mmfusion.profiling.flops import count_flops, format_flops
from mmfusion.profiling.synthetic import synthetic_batch
from mmfusion.profiling.timing import Timing
from mmfusion.utils import UserError

SHAPE = (64, 96)


class ConvFuser(BaseFuser):
    """Two 3x3 experts of which one runs: the smallest thing with known costs."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Conv2d(2, 1, 3, padding=1) for _ in range(2))

    def fuse(self, first, second):
        return FuserOutput(self.experts[0](torch.cat([first, second], 1)), {})


def config(fuser=ConvFuser, **tasks):
    model = dict(type='FusionOnly', fuser=dict(type=fuser), fusion_loss=dict(l1=dict(type='L1FusionLoss')))
    if tasks:
        model.update(type='JointCoupling', tasks=tasks)
    return Config(
        dict(
            model=model,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9), clip_grad=dict(max_norm=1.0)),
        )
    )


def test_synthetic_batch_suits_every_task():
    coupling = build_coupling(config(det=rtmdet(), seg=segmentor()).model, warn=False).coupling
    data = coupling.data_preprocessor(synthetic_batch(SHAPE, 2), True)
    losses = coupling.train().loss(data['inputs'], data['data_samples'])
    assert {'det.loss_cls', 'seg.decode.loss_ce'} <= set(losses)
    first, again = synthetic_batch(SHAPE), synthetic_batch(SHAPE)
    assert torch.equal(first['inputs']['first'][0], again['inputs']['first'][0]) and first['inputs']['second'][
        0
    ].shape == (1, *SHAPE)
    with pytest.raises(ValueError, match='16x16'):
        synthetic_batch((8, 64))


def test_every_part_of_a_joint_coupling_is_timed_and_weights_stay():
    cfg = config(det=rtmdet())
    result = run_benchmark(
        {'tiny': cfg},
        ['forward', 'train'],
        ['coupling', 'fusion', 'fuser', 'guide', 'task'],
        2,
        0,
        shape=SHAPE,
        batch_size=2,
    )
    rows = [(row['part'], row['what']) for row in result['rows']]
    assert rows == [
        (part, what) for part in ('forward', 'train') for what in ('coupling', 'fusion', 'fuser', 'task')
    ]  # there is no guide
    assert all(
        row['wall_ms'] > 0 and row['images_per_s'] == pytest.approx(2000 / row['wall_ms']) for row in result['rows']
    )
    assert set(result['joint_overhead']['tiny']) == {'wall', 'cpu'}
    text = format_result(result)
    assert 'load average' in text and 'fusion and task steps apart' in text
    json.dumps(result)


def test_training_step_computes_gradients_and_changes_no_weight():
    workload = Workload(config(det=rtmdet()), SHAPE)
    before = [parameter.clone() for parameter in workload.coupling.parameters()]
    for what in ('coupling', 'fusion', 'task'):
        workload.function('train', what)()
    assert all(torch.equal(old, new) for old, new in zip(before, workload.coupling.parameters()))


PART = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1))
SMALL = dict(channels=4, heads=2, blocks=1)
OWN_STEPS = dict(
    bilevel=(
        dict(
            type='mmfusion.BilevelCoupling', fusion_loss=dict(l1=dict(type='L1FusionLoss')), tasks=dict(seg=segmentor())
        ),
        PART,
    ),
    meta=(
        dict(
            type='mmfusion.MetaCoupling',
            fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
            tasks=dict(seg=segmentor()),
            crop_size=32,
            loss_generator=dict(type='LossGenerationModule', **SMALL),
        ),
        dict(constructor='PartOptimWrapperConstructor', fuser=PART, tasks=PART),
    ),
    meta_init=(
        dict(type='mmfusion.MetaInitCoupling', fusion_loss=dict(l1=dict(type='L1FusionLoss')), inner_steps=1),
        PART,
    ),
)


@pytest.mark.parametrize('kind', OWN_STEPS)
def test_a_coupling_that_has_a_step_of_its_own_is_timed_by_it(kind, monkeypatch):
    model, wrapper = OWN_STEPS[kind]
    workload = Workload(
        Config(dict(model=dict(model, fuser=dict(type='ReFusion', **SMALL)), optim_wrapper=wrapper)),
        SHAPE,
        batch_size=2,
    )
    before = [parameter.clone() for parameter in workload.coupling.parameters()]
    steps, own = [], type(workload.coupling).train_step
    monkeypatch.setattr(
        type(workload.coupling), 'train_step', lambda self, *args: steps.append(own(self, *args)) or steps[-1]
    )
    step = workload.function('train')
    step()
    assert len(steps) == 1 and steps[0]['loss'].isfinite()
    assert all(torch.equal(old, new) for old, new in zip(before, workload.coupling.parameters()))


def test_compare_gives_a_ratio():
    result = run_benchmark(
        {'one': config(), 'other': config('AverageFuser')}, ['forward'], ['fuser'], 3, 1, shape=SHAPE
    )
    assert [('ratio' in row, row['config']) for row in result['rows']] == [(True, 'one'), (False, 'other')]
    assert 'took turns' in format_result(result)


def test_data_loading():
    seen = []

    class CountingSet:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            seen.append(index)
            return dict(inputs=torch.zeros(1))

    cfg = config()
    cfg.train_dataloader = dict(dataset=dict(type=CountingSet))
    result = run_benchmark({'a': cfg}, ['data'], repeats=2, warmup=0, shape=SHAPE, batch_size=2)
    assert seen == [0, 1, 2, 0, 1, 2] and result['rows'][0]['what'] == 'data'
    with pytest.raises(UserError, match='train_dataloader'):
        run_benchmark({'a': config()}, ['data'], shape=SHAPE)


def test_bad_requests():
    with pytest.raises(ValueError, match='parts must be out of forward'):
        run_benchmark({'a': config()}, ['forwrd'], shape=SHAPE)
    with pytest.raises(UserError, match='nothing to time'):
        run_benchmark({'a': config('AverageFuser')}, ['train'], shape=SHAPE, repeats=1)  # nothing to learn


def test_joint_overhead_needs_all_three():
    timings = {
        (what, 'c'): Timing([value] * 2, [value] * 2, [], None)
        for what, value in (('coupling', 4.2), ('fusion', 3.0), ('task', 1.0))
    }
    assert joint_overhead(timings, 'c') == {'wall': pytest.approx(1.05), 'cpu': pytest.approx(1.05)}
    assert joint_overhead({('coupling', 'c'): timings['coupling', 'c']}, 'c') is None


def test_flops_of_a_known_network():
    coupling = build_coupling(config().model, warn=False).coupling
    for batch_size in (1, 3):
        (part,) = count_flops(coupling, SHAPE, batch_size=batch_size)
        assert (
            part.name == 'fuser' and part.flops == 2 * 2 * 9 * SHAPE[0] * SHAPE[1]
        )  # one expert ran: 2 FLOP, 2 channels, 9 taps, every pixel
        assert part.parameters == 2 * (2 * 9 + 1) == part.trainable and part.by_op == {'convolution': part.flops}


def test_flops_lists_every_part():
    coupling = build_coupling(config('AverageFuser', det=rtmdet(), seg=segmentor()).model, warn=False).coupling
    coupling.tasks['seg'].requires_grad_(False)
    parts = {part.name: part for part in count_flops(coupling, SHAPE)}
    assert list(parts) == ['fuser', 'det', 'seg'] and parts['fuser'].flops == 0 and parts['det'].flops > 1e7
    assert parts['seg'].trainable == 0 < parts['seg'].parameters
    assert 'total' in format_flops(list(parts.values()), SHAPE, (3, 1))


def test_tools(repo_dir, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')

    def tool(name):
        spec = importlib.util.spec_from_file_location(name, repo_dir / 'tools' / 'analysis_tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    config('AverageFuser', det=rtmdet()).dump(str(tmp_path / 'cfg.py'))
    numbers = tmp_path / 'numbers.json'
    options = '--parts forward --what coupling,task --shape 64 64 --repeats 1 --warmup 0 --device cpu --json'
    tool('benchmark')([str(tmp_path / 'cfg.py'), *options.split(), str(numbers)])
    assert len(json.loads(numbers.read_text())['rows']) == 2 and 'forward  task' in capsys.readouterr().out
    tool('get_flops')([str(tmp_path / 'cfg.py'), '--shape', '64', '64'])
    assert 'M params' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tool('benchmark')(['none.py', '--device', 'cpu'])
    assert 'config not found: none.py' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['flops', 'synthetic'])
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(f'mmfusion.profiling.{name}'))
    assert result.attempted and not result.failed


def test_data_loading_by_transform(capsys):
    cfg = config()
    dataset = dict(
        type='DemoPairs',
        length=5,
        size=(64, 64),
        pipeline=[
            dict(type='LoadPair'),
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            *(dict(type='Paired', transform=dict(type='mmdet.RandomFlip', prob=0.5)) for _ in range(2)),
            dict(type='PackFusionInputs'),
        ],
    )
    cfg.train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset))
    result = run_benchmark(
        {'a': cfg}, ['data'], repeats=4, warmup=1, batch_size=2, shape=SHAPE, workers=3, step_ms=20.0
    )
    data = result['data_loading']['a']
    assert list(data['transforms']) == [
        'LoadPair',
        'LoadAnnotations',
        'Paired(RandomFlip)',
        'Paired(RandomFlip) 2',
        'PackFusionInputs',
    ]
    assert all(value >= 0 for value in data['transforms'].values()) and data['per_pair'] > 0
    assert data['batch_size'] == int(3 * 20 / data['per_pair'])
    text = format_result(result)
    assert 'Paired(RandomFlip) 2' in text and '3 workers with a core each' in text and 'every 20 ms' in text
    json.dumps(result)
    with pytest.raises(ValueError, match='workers must be at least 1'):
        run_benchmark({'a': cfg}, ['data'], shape=SHAPE, workers=0)
