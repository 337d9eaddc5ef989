"""docs/en/metrics.md: its tables say what the code does, and its numbers come out again."""

import importlib.util
import re

import pytest

from mmfusion.evaluation.protocols import PROTOCOLS


@pytest.fixture(scope='module')
def tables(repo_dir):
    spec = importlib.util.spec_from_file_location('metric_tables', repo_dir / 'docs' / 'metric_tables.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def page(repo_dir):
    return (repo_dir / 'docs' / 'en' / 'metrics.md').read_text()


def table_in(page, name):
    """Rows of cells of a table on the page."""
    body = re.search(rf'<!-- table {name},[^\n]*-->\n(.*?)<!-- end -->', page, re.S)[1]
    return cells(body.strip().splitlines())


def cells(lines):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


@pytest.mark.parametrize('name', ['protocols', 'metrics'])
def test_tables_name_every_protocol_and_metric(tables, page, name):
    assert table_in(page, name) == cells(tables.TABLES[name]()), 'run python docs/metric_tables.py'


@pytest.mark.parametrize('name', ['worked', 'order', 'limits', 'handling'])
def test_numbers_come_out_again(tables, page, name):
    """To 1 %, or 0.3 points of a change in percent: another machine may render the scene or decode a JPEG one gray
    level apart here and there.
    """
    printed, computed = table_in(page, name), cells(tables.TABLES[name]())
    assert [row[0] for row in printed] == [row[0] for row in computed] and printed[0] == computed[0], (
        'run python docs/metric_tables.py'
    )
    compared = 0
    for old, new in zip(printed[2:], computed[2:]):
        assert len(old) == len(new)
        for ours, theirs in zip(old[1:], new[1:]):
            if ours and theirs:
                compared += 1
                assert float(theirs) == pytest.approx(
                    float(ours), rel=1e-2, abs=0.3 if name == 'handling' else 1e-4, nan_ok=True
                ), old[0]
            else:
                assert ours == theirs, old[0]
    assert compared > 20


def test_range_and_source_of_every_metric(tables):
    names = {name for protocol in PROTOCOLS.values() for name in protocol.metrics}
    assert names - set(PROTOCOLS['default'].metrics) <= {
        'Nabf_misordered'
    }  # default holds everything but a slip of one program
    assert names <= set(tables.FACTS)
    for bounds, source in tables.FACTS.values():
        assert bounds and (
            re.search(r'\((19|20)\d\d\)|(19|20)\d\d', source) or re.match(r'as (\w+)', source)[1] in tables.FACTS
        )


def test_default_values_lie_within_the_stated_ranges(tables, page):
    for name, *values in table_in(page, 'limits')[2:]:
        bounds = re.match(r'(?:from )?(-?[\d.]+)(?: to (?:about )?([\d.]+))?', tables.FACTS[name.strip('`')][0])
        if bounds:
            low, high = float(bounds[1]), float(bounds[2] or 'inf')
            assert all(value == 'NaN' or low <= float(value) <= high for value in values), name


def test_a_page_without_the_mark_is_refused(tables):
    with pytest.raises(KeyError, match='table worked'):
        tables.replace_tables('no tables here', {'worked': []})
    page = 'x\n<!-- table a, b -->\n\nold\n\n<!-- end -->\ny'
    assert tables.replace_tables(page, {'a': ['| 1 |']}) == 'x\n<!-- table a, b -->\n\n| 1 |\n\n<!-- end -->\ny'
