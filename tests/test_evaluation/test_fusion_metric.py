"""FusionMetric: values, means, csv, undefined values and errors."""
import csv
import math

import numpy as np
import pytest
import torch

from mmfusion.evaluation import FusionMetric
from mmfusion.evaluation.functional import evaluate_metric, to_grey
from mmfusion.registry import METRICS


def make_batch(n=3, h=20, w=26, channels=3, dtype=torch.uint8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def image(c):
        levels = torch.randint(0, 256, (c, h, w), generator=generator, dtype=torch.uint8)
        return levels if dtype == torch.uint8 else levels.to(dtype) / 255

    inputs = dict(first=[image(channels) for _ in range(n)], second=[image(1) for _ in range(n)])
    samples = [
        dict(sample_id=f'pair{i}', img_id=i, fused=dict(data=(torch.rand(channels, h, w, generator=generator) * 1.2 - 0.1))) for i in range(n)
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
        for images in ([sample['fused']['data'] for sample in samples], batch['inputs']['first'], batch['inputs']['second'])
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
    assert results[0] == results[1]
    assert list(results[0]) == ['fusion/MI', 'fusion/MI_first', 'fusion/MI_second', 'fusion/SSIM', 'fusion/SSIM_first', 'fusion/SSIM_second']


def test_csv_has_one_row_per_image(tmp_path):
    path = tmp_path / 'new' / 'values.csv'
    metric = FusionMetric(['EN', 'MI'], out_csv=str(path))
    metric.process(*make_batch())
    means = metric.evaluate(size=3)
    rows = list(csv.DictReader(path.open()))
    assert [row['sample_id'] for row in rows] == ['pair0', 'pair1', 'pair2'] and {row['protocol'] for row in rows} == {'default'}
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
    assert got == rest.evaluate(size=2)


def test_image_smaller_than_the_window():
    metric = FusionMetric(['EN', 'SSIM'])
    metric.process(*make_batch(h=8))
    with pytest.warns(UserWarning, match='^SSIM undefined for 3 of 3'):
        result = metric.evaluate(size=3)
    assert math.isnan(result['fusion/SSIM']) and result['fusion/EN'] > 0


def test_table_names_the_protocol():
    metric = FusionMetric(['SSIM'], per_source=True)
    table = metric._table({'SSIM': 0.5, 'SSIM_first': 0.25}, 7)
    assert "mean over 7 images, protocol 'default'" in table and 'against first' in table and 'higher is better' in table


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
