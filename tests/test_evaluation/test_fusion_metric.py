"""FusionMetric: values, means, csv, undefined values and errors."""

import csv
import json
import math
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.logging import MMLogger

import mmfusion.evaluation.functional as MF
from mmfusion.evaluation import FusionMetric
from mmfusion.evaluation import protocols as MP
from mmfusion.evaluation.functional import to_grey
from mmfusion.evaluation.metrics.fusion_metric import format_summary
from mmfusion.evaluation.protocols import evaluate_metric
from mmfusion.evaluation.reports.summary import Summary
from mmfusion.registry import METRICS


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def make_batch(n=3, h=20, w=26, channels=3, dtype=torch.uint8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def image(c):
        levels = torch.randint(0, 256, (c, h, w), generator=generator, dtype=torch.uint8)
        return levels if dtype == torch.uint8 else levels.to(dtype) / 255

    inputs = dict(first=[image(channels) for _ in range(n)], second=[image(1) for _ in range(n)])
    samples = [
        dict(
            sample_id=f'pair{i}',
            img_id=i,
            fused=dict(data=(torch.rand(channels, h, w, generator=generator) * 1.2 - 0.1)),
        )
        for i in range(n)
    ]
    return dict(inputs=inputs), samples


def test_means_equal_functional_values():
    batch, samples = make_batch()
    metric = METRICS.build(dict(type='FusionMetric'))
    metric.process(batch, samples)
    result = metric.evaluate(size=3)
    assert list(result) == [f'fusion/{name}' for name in ('EN', 'SD', 'SF', 'AG', 'MI', 'SSIM')]
    stack = [
        torch.stack([to_grey(x) for x in images])
        for images in (
            [sample['fused']['data'] for sample in samples],
            batch['inputs']['first'],
            batch['inputs']['second'],
        )
    ]
    for name in metric.metrics:
        assert result[f'fusion/{name}'] == pytest.approx(evaluate_metric(name, *stack)[name].mean().item(), rel=1e-12)
    assert not metric.results  # ready for the next epoch


def test_float_sources_give_the_same_values():
    results = []
    for dtype in (torch.uint8, torch.float32):
        batch, samples = make_batch(dtype=dtype)
        metric = FusionMetric(['MI', 'SSIM'], per_source=True)
        metric.process(batch, samples)
        results.append(metric.evaluate(size=3))
    assert results[0] == pytest.approx(results[1], rel=1e-12)
    assert list(results[0]) == [
        'fusion/MI',
        'fusion/MI_first',
        'fusion/MI_second',
        'fusion/SSIM',
        'fusion/SSIM_first',
        'fusion/SSIM_second',
    ]


def test_csv_has_one_row_per_image(tmp_path):
    path = tmp_path / 'new' / 'values.csv'
    metric = FusionMetric(['EN', 'MI'], out_csv=str(path))
    metric.process(*make_batch())
    means = metric.evaluate(size=3)
    rows = list(csv.DictReader(path.open()))
    assert [row['sample_id'] for row in rows] == ['pair0', 'pair1', 'pair2'] and {row['protocol'] for row in rows} == {
        'default'
    }
    assert np.mean([float(row['EN']) for row in rows]) == pytest.approx(means['fusion/EN'], rel=1e-12)
    assert float(rows[0]['MI_first']) + float(rows[0]['MI_second']) == pytest.approx(float(rows[0]['MI']))
    assert [file.name for file in path.parent.iterdir()] == ['values.csv']  # no temporary file left


def test_unwritable_csv_names_the_file(tmp_path):
    (tmp_path / 'file').write_text('')
    path = tmp_path / 'file' / 'values.csv'
    metric = FusionMetric(['EN'], out_csv=str(path))
    metric.process(*make_batch(n=1))
    with pytest.raises(OSError, match='values.csv'):
        metric.evaluate(size=1)


def test_undefined_values_are_left_out_and_counted():
    batch, samples = make_batch()
    samples[1]['fused']['data'][0, 0, 0] = math.nan
    metric, rest = FusionMetric(), FusionMetric()
    metric.process(batch, samples)
    with pytest.warns(UserWarning, match=r"EN, SD, SF, AG, MI, SSIM undefined for 1 of 3 images \(first: 'pair1'\)"):
        got = metric.evaluate(size=3)
    del samples[1], batch['inputs']['first'][1], batch['inputs']['second'][1]
    rest.process(batch, samples)
    assert got == pytest.approx(rest.evaluate(size=2), rel=1e-12)


def test_image_smaller_than_the_window():
    metric = FusionMetric(['EN', 'SSIM'])
    metric.process(*make_batch(h=8))
    with pytest.warns(UserWarning, match='^SSIM undefined for 3 of 3'):
        result = metric.evaluate(size=3)
    assert math.isnan(result['fusion/SSIM']) and result['fusion/EN'] > 0


def test_table_names_protocol_spread_and_extremes(tmp_path):
    metric = FusionMetric(['SD', 'SSIM'], per_source=True, out_csv=str(tmp_path / 'values.csv'))
    metric.process(*make_batch())
    summary = Summary(metric.metrics)
    for row in metric.results:
        summary.add(row['sample_id'], row['values'])
    table = format_summary(summary, per_source=True)
    assert (
        "protocol 'default'" in table
        and 'mean over 3 images' in table
        and 'against first' in table
        and 'higher is better' in table
    )
    metric.evaluate(size=3)
    values = {row['sample_id']: float(row['SD']) for row in csv.DictReader((tmp_path / 'values.csv').open())}
    best, worst = max(values, key=values.get), min(values, key=values.get)
    line = next(line for line in table.splitlines() if line.strip().startswith('SD'))
    assert line.split()[2] == f'{np.std(list(values.values()), ddof=1):.4f}'
    assert line.index(f'({worst})') < line.index(f'({best})')


def test_cautions_are_printed(monkeypatch):
    misleading = MP.get_metric('SSIM')._replace(caution='another L than the paper')
    monkeypatch.setitem(MP.PROTOCOLS['default'].metrics, 'SSIM', misleading)
    summary = Summary(['EN', 'SSIM'])
    assert format_summary(summary).splitlines()[-1].strip() == 'SSIM: another L than the paper'


def test_names_with_underscores_keep_their_values_per_source(monkeypatch):
    monkeypatch.setitem(MP.PROTOCOLS['default'].metrics, 'MS_SSIM', MP.get_metric('SSIM'))
    metric, plain = FusionMetric(['MS_SSIM', 'EN'], per_source=True), FusionMetric(['SSIM', 'EN'], per_source=True)
    for each in (metric, plain):
        each.process(*make_batch())
    got = metric.evaluate(size=3)
    assert list(got) == ['fusion/MS_SSIM', 'fusion/MS_SSIM_first', 'fusion/MS_SSIM_second', 'fusion/EN']
    assert list(got.values()) == pytest.approx(list(plain.evaluate(size=3).values()), rel=1e-12)


def test_all_stands_for_every_metric_that_is_not_slow():
    assert FusionMetric('all').metrics == tuple(
        name for name, spec in MP.PROTOCOLS['default'].metrics.items() if not spec.slow
    )


def test_protocol_that_rates_every_channel(monkeypatch):
    table = dict(SD=MP.get_metric('SD'))
    monkeypatch.setitem(MP.PROTOCOLS, 'channels', MP.Protocol('channels', 'every channel', table, 'each'))
    batch, samples = make_batch(n=1)
    metric = FusionMetric(['SD'], protocol='channels')
    metric.process(batch, samples)
    fused = MF.to_uint8(samples[0]['fused']['data'])
    expected = np.mean([channel.double().std(correction=0).item() for channel in fused])
    assert metric.evaluate(size=1)['fusion/SD'] == pytest.approx(expected, rel=1e-12)


def test_summary_beside_the_log_file(tmp_path, monkeypatch):
    logger = MMLogger(
        'fusion_metric_summary', log_file=str(tmp_path / 'run.log')
    )  # not registered: other tests keep theirs
    monkeypatch.setattr(MMLogger, 'get_current_instance', classmethod(lambda cls: logger))
    metric = FusionMetric(['EN', 'SD'], prefix='quality')
    metric.process(*make_batch())
    means = metric.evaluate(size=3)
    content = json.loads((tmp_path / 'quality_metrics.json').read_text())
    assert content['protocol'] == 'default' and content['images'] == 3
    assert content['metrics']['EN']['mean'] == pytest.approx(means['quality/EN']) and content['metrics']['EN'][
        'best'
    ].startswith('pair')
    assert "protocol 'default'" in (tmp_path / 'run.log').read_text()


def test_one_metric_for_each_task():
    batch, samples = make_batch(n=5)
    for sample, task in zip(samples, ('focus', 'exposure', 'focus', None, 'exposure')):
        sample.update(dict(fusion_task=task) if task else {})
    results = {}
    for task, names in (('focus', ['EN', 'MI']), ('exposure', ['SD'])):
        metric = METRICS.build(dict(type='FusionMetric', fusion_task=task, metrics=names))
        metric.process(batch, samples)
        results.update(metric.evaluate(size=5))
    assert list(results) == ['focus/EN', 'focus/MI', 'exposure/SD']
    alone = FusionMetric(['EN', 'MI'], prefix='focus')
    alone.process(
        dict(inputs={key: [images[0], images[2]] for key, images in batch['inputs'].items()}), [samples[0], samples[2]]
    )
    assert alone.evaluate(size=2) == pytest.approx({key: results[key] for key in ('focus/EN', 'focus/MI')}, rel=1e-12)


def test_a_task_without_samples_is_an_error():
    batch, samples = make_batch(n=2)
    samples[0]['fusion_task'] = 'exposure'
    metric = FusionMetric(['EN'], fusion_task='focus', prefix='f')
    metric.process(batch, samples)
    with pytest.raises(
        ValueError, match=r"none of 2 samples is of fusion_task='focus', their tasks are \['None', 'exposure'\]"
    ):
        metric.evaluate(size=2)


def test_files_name_their_task(tmp_path, monkeypatch):
    logger = MMLogger(
        'fusion_metric_tasks', log_file=str(tmp_path / 'run.log')
    )  # not registered: other tests keep theirs
    monkeypatch.setattr(MMLogger, 'get_current_instance', classmethod(lambda cls: logger))
    batch, samples = make_batch(n=3)
    for sample, task in zip(samples, ('focus', 'exposure', 'focus')):
        sample['fusion_task'] = task
    metric = FusionMetric(['EN'], fusion_task='focus', out_csv=str(tmp_path / 'focus.csv'))
    metric.process(batch, samples)
    metric.evaluate(size=3)
    content = json.loads((tmp_path / 'focus_metrics.json').read_text())
    assert content['fusion_task'] == 'focus' and content['images'] == 2
    assert [row['sample_id'] for row in csv.DictReader((tmp_path / 'focus.csv').open())] == ['pair0', 'pair2']
    assert 'focus: Fusion metrics' in (tmp_path / 'run.log').read_text()


def rate_share(rank, world_size, port, folder, round_up, task=None):
    """One of several processes: its share of five pairs as the sampler gives it, in batches of two."""
    from mmengine.dataset import DefaultSampler

    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=world_size)
    batch, samples = make_batch(n=5)
    for sample, name in zip(
        samples, ('focus', 'focus', 'focus', 'exposure', 'focus')
    ):  # one process has fewer of the task than the other
        sample['fusion_task'] = name
    metric = FusionMetric(['EN', 'SSIM'], out_csv=f'{folder}/{world_size}.csv', fusion_task=task)
    metric.collect_dir = f'{folder}/parts'
    share = list(DefaultSampler(range(5), shuffle=False, round_up=round_up))
    for i in range(0, len(share), 2):
        part = share[i : i + 2]
        metric.process(
            dict(inputs={key: [images[j] for j in part] for key, images in batch['inputs'].items()}),
            [samples[j] for j in part],
        )
    result = metric.evaluate(size=5)
    torch.save(dict(result=result, rated=len(share)), f'{folder}/{world_size}_{rank}.pt')
    if world_size > 1:
        dist.barrier()
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason='this torch has no gloo backend')
@pytest.mark.parametrize('round_up, task', [(True, None), (False, None), (True, 'focus')])
def test_two_processes_count_every_image_once(tmp_path, round_up, task):
    rate_share(0, 1, 0, str(tmp_path), round_up, task)
    mp.spawn(rate_share, args=(2, free_port(), str(tmp_path), round_up, task), nprocs=2)
    single, first, second = (torch.load(tmp_path / f'{name}.pt', weights_only=True) for name in ('1_0', '2_0', '2_1'))
    assert first['rated'] + second['rated'] == (6 if round_up else 5)  # padding was there to be dropped
    # where arrays begin in memory decides how sums are split, so processes agree to rounding
    assert first['result'] == second['result'] == pytest.approx(single['result'], rel=1e-12)
    alone, together = (list(csv.DictReader((tmp_path / name).open())) for name in ('1.csv', '2.csv'))
    assert [row['sample_id'] for row in together] == [f'pair{i}' for i in range(5) if task is None or i != 3]
    for one, other in zip(alone, together):
        assert float(other['SSIM']) == pytest.approx(float(one['SSIM']), rel=1e-10)


def test_errors():
    with pytest.raises(KeyError, match='EN'):
        FusionMetric(['ENN'])
    with pytest.raises(KeyError, match='default'):
        FusionMetric(protocol='mine')
    with pytest.raises(ValueError, match='distinct'):
        FusionMetric(['EN', 'EN'])
    with pytest.raises(ValueError, match='distinct'):
        FusionMetric([])
    batch, samples = make_batch()
    samples[0].pop('fused')
    with pytest.raises(KeyError, match='pair0.*no fused image'):
        FusionMetric().process(batch, samples)
    batch, samples = make_batch()
    samples[2]['fused']['data'] = samples[2]['fused']['data'][:, 1:]
    with pytest.raises(ValueError, match="'pair2'.*(19, 26)"):
        FusionMetric().process(batch, samples)
