"""Summaries as a stream: the numbers of numpy, without a list of all values."""

import math

import numpy as np
import pytest

from mmfusion.evaluation import protocols as MP
from mmfusion.evaluation.reports.summary import Summary, caution_lines, cautions, columns, format_value, heading, rank


@pytest.fixture
def protocol(monkeypatch):
    """A protocol with a metric for either direction, one with values per source and one with a caution."""
    table = dict(
        UP=MP.MetricSpec(None, 'up'),
        DOWN=MP.MetricSpec(None, 'down', higher_is_better=False),
        MS_X=MP.MetricSpec(None, 'two sources', needs_sources=True, min_size=9),
        ODD=MP.MetricSpec(None, 'odd', caution='not usable on flat images'),
    )
    monkeypatch.setitem(MP.PROTOCOLS, 'stub', MP.Protocol('stub', 'of a test', table))
    return 'stub'


@pytest.mark.parametrize('offset', [0, 1e6])
def test_statistics_equal_numpy(protocol, offset):
    values = np.random.default_rng(0).normal(size=(50, 2)) + offset
    summary = Summary(['UP', 'DOWN'], protocol)
    for i, (up, down) in enumerate(values):
        summary.add(f'image{i}', dict(UP=up, DOWN=down, other=1.0))
    got = summary.statistics()
    assert list(got) == ['UP', 'DOWN'] and summary.n_images == 50 and not summary.warnings()
    for key, column, best, worst in (
        ('UP', values[:, 0], np.argmax, np.argmin),
        ('DOWN', values[:, 1], np.argmin, np.argmax),
    ):
        assert got[key].mean == pytest.approx(column.mean(), rel=1e-14, abs=1e-15)
        assert got[key].std == pytest.approx(column.std(ddof=1), rel=1e-9)
        assert (got[key].best, got[key].best_value) == (f'image{best(column)}', column[best(column)])
        assert (got[key].worst, got[key].worst_value) == (f'image{worst(column)}', column[worst(column)])


def test_undefined_values_are_counted_and_left_out(protocol):
    summary = Summary(['UP', 'DOWN', 'MS_X'], protocol)
    for i, value in enumerate([math.nan, 2.0, math.inf, 4.0]):
        summary.add(f'i{i}', dict(UP=value, DOWN=value) if i else {})
    got = summary.statistics()
    assert (got['UP'].mean, got['UP'].count, got['UP'].undefined) == (3.0, 2, 2)
    assert math.isnan(got['MS_X'].mean) and math.isnan(got['MS_X'].std) and got['MS_X'].best == ''
    shared, alone = summary.warnings()
    assert shared.startswith("UP, DOWN undefined for 2 of 4 images (first: 'i0', 'i2')")
    assert alone.startswith("MS_X undefined for 4 of 4 images (first: 'i0', 'i1', 'i2')") and '9x9' in alone


def test_one_image_has_no_spread(protocol):
    summary = Summary(['UP'], protocol)
    summary.add('only', dict(UP=3.0))
    got = summary.statistics()['UP']
    assert got.mean == 3 and math.isnan(got.std) and got.best == got.worst == 'only'


def test_nothing_at_all(protocol):
    got = Summary(['UP'], protocol).statistics()['UP']
    assert math.isnan(got.mean) and got.count == 0 and got.worst == ''


def test_columns_of_names_with_underscores(protocol):
    summary = Summary(['MS_X', 'UP'], protocol)
    summary.add('small', dict(MS_X=math.nan, UP=1.0))  # too small for the window, so without values per source
    summary.add('a', dict(MS_X=1.5, MS_X_first=1.0, MS_X_second=2.0, UP=1.0))
    listed = summary.columns()
    assert [(c.key, c.metric, c.source) for c in listed] == [
        ('MS_X', 'MS_X', ''),
        ('MS_X_first', 'MS_X', 'first'),
        ('MS_X_second', 'MS_X', 'second'),
        ('UP', 'UP', ''),
    ]
    assert [c.key for c in summary.columns(per_source=False)] == ['MS_X', 'UP']
    assert summary.statistics()['MS_X_second'].mean == 2
    assert [c.key for c in columns(['MS_X'])] == ['MS_X', 'MS_X_first', 'MS_X_second']


def test_size_does_not_grow_with_the_images(protocol):
    """No container of a summary holds more for a thousand images than for ten."""

    def size(n):
        summary = Summary(['UP', 'ODD'], protocol)
        for i in range(n):
            summary.add('name', dict(UP=math.nan, ODD=float(i % 7)))
        return len(repr({key: vars(value) for key, value in summary._columns.items()}))

    assert abs(size(1000) - size(10)) < 100


def test_cautions_and_heading(protocol):
    assert cautions(['UP', 'ODD'], protocol) == dict(ODD='not usable on flat images')
    MP.PROTOCOLS[protocol].metrics['EVEN'] = MP.PROTOCOLS[protocol].metrics['ODD']
    assert cautions(['EVEN', 'UP', 'ODD'], protocol) == {'EVEN, ODD': 'not usable on flat images'}
    MP.PROTOCOLS[protocol].metrics['UP'] = MP.PROTOCOLS[protocol].metrics['UP']._replace(caution='UP goes down')
    assert caution_lines(['EVEN', 'UP', 'ODD'], protocol) == ['EVEN, ODD: not usable on flat images', 'UP goes down']
    assert heading(protocol, 1).startswith("Fusion metrics, protocol 'stub' (of a test)") and heading(
        protocol, 1
    ).endswith('1 image')


def test_ranks():
    assert rank(dict(a=1.0, b=3.0, c=2.0)) == dict(a=3, b=1, c=2)
    ties = rank(dict(a=1.0, b=1.0, c=0.0, d=math.nan))
    assert (ties['a'], ties['b'], ties['c']) == (1.5, 1.5, 3) and math.isnan(ties['d'])


@pytest.mark.parametrize(
    ('value', 'text'), [(0.0, '0.0000'), (-0.5, '-0.5000'), (123.456, '123.46'), (-2e-5, '-2.00e-05'), (math.inf, '-')]
)
def test_format_value(value, text):
    assert format_value(value) == text
