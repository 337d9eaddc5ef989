"""Figures on the pages and the records that they come from."""

import importlib.util
import json

import pytest

PAGE = """# Page

Something has 0.123 of it, by `--lr 0.5` and version 2.13.0.

<!-- results: thing -->
| fused by | mAP50 |
|---|---|
| average | 0.434 ± 0.011 |

```
| code | 0.777 |
```
"""
RECORD = dict(
    commit='abc',
    manifests={'work: test': {}},
    commands=[],
    stated={'README.md': ['0.123']},
    table=dict(columns=['fused by', 'mAP50'], rows=[['average', '0.434 ± 0.011']]),
)


@pytest.fixture
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location('results_tables', repo_dir / 'docs' / 'results_tables.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(tool, tmp_path, monkeypatch):
    """The tool on a page and a record of its own."""
    monkeypatch.setattr(tool, 'REPO', tmp_path)
    monkeypatch.setattr(tool, 'RECORDS', tmp_path / 'docs' / 'results')
    tool.RECORDS.mkdir(parents=True)
    (tmp_path / 'README.md').write_text(PAGE)
    write(tool, RECORD)
    return tool


def write(tool, record):
    (tool.RECORDS / 'thing.json').write_text(json.dumps(record))


def test_every_figure_of_the_pages_has_its_record(tool):
    found = tool.problems()
    assert not found, '\n'.join([*found, tool.HELP])
    assert len(tool.read_records()) > 10


def test_a_whole_page_passes(small):
    assert small.problems() == []
    assert small.write_pages() == []


@pytest.mark.parametrize(
    'old,new,message',
    [
        ('| 0.434', '| 0.534', 'the table is not that of docs/results/thing.json'),
        ('<!-- results: thing -->\n', '', 'the table has figures and no record'),
        ('results: thing', 'results: other', 'docs/results/other.json with a table is missing'),
        ('Something has 0.123', 'Something has 0.124', 'the figure 0.124 has no record'),
        ('```\n', '| a | b |\n|---|---|\n| x | 0.5 |\n\n```\n', 'the table has figures and no record'),
    ],
)
def test_a_figure_without_a_record_is_named(small, old, new, message):
    (small.REPO / 'README.md').write_text(PAGE.replace(old, new, 1))
    assert any(message in text for text in small.problems()), small.problems()


@pytest.mark.parametrize(
    'change', [dict(manifests={}), dict(commit=''), dict(manifests=None, without_manifest='a timing')]
)
def test_a_record_says_where_it_comes_from(small, change):
    write(small, {**RECORD, **change})
    assert any('must have manifests, or a reason' in text for text in small.problems())
    write(small, {**RECORD, 'manifests': None, 'without_manifest': 'a timing', 'commands': ['mmfusion benchmark']})
    assert small.problems() == []


def test_tables_are_written_from_records(small):
    write(
        small,
        {**RECORD, 'table': dict(columns=['fused by', 'mAP50'], rows=[['average', '0.500'], ['maximum', '0.600']])},
    )
    assert small.write_pages() == ['README.md'] and small.problems() == []
    text = (small.REPO / 'README.md').read_text()
    assert '| average | 0.500 |\n| maximum | 0.600 |\n\n```' in text and text.startswith(PAGE[:90])


def test_a_record_is_made_from_a_manifest(small, monkeypatch, repo_dir):
    work = small.REPO / 'work'
    work.mkdir()
    data = dict(test=dict(root='@MSRS', sha256='1', files={'.': {'a.png': '2'}}, samples={'a': '3'}))
    entry = dict(kind='test', data=data, config=dict(name='a.py', sha256='4', resolved={}), results=dict(mAP50=0.434))
    (work / 'manifest.json').write_text(json.dumps(dict(manifest=1, entries=dict(test=entry))))
    (work / 'table.md').write_text('| fused by | mAP50 |\n|---|---|\n| average | 0.700 |\n')
    monkeypatch.setattr(small.subprocess, 'run', lambda *args, **kwargs: small.argparse.Namespace(stdout='abc\n'))
    monkeypatch.setattr(
        'sys.argv', ['tool', 'add', 'thing', '--manifest', str(work), '--table', str(work / 'table.md')]
    )
    small.main()
    record = small.read_records()['thing']
    assert record['manifests']['work: test'] == dict(
        kind='test',
        data=dict(test=dict(root='@MSRS', sha256='1')),
        config=dict(name='a.py', sha256='4'),
        results=dict(mAP50=0.434),
    )
    assert record['stated'] == RECORD['stated'] and '| average | 0.700 |' in (small.REPO / 'README.md').read_text()
    assert small.problems() == []
    with open(small.REPO / 'README.md', 'a') as file:
        file.write('\nAnd 0.999.\n')
    monkeypatch.setattr(
        'sys.argv', ['tool', 'stated', 'README.md', '--without-manifest', 'a timing', '--command', 'mmfusion benchmark']
    )
    small.main()
    assert small.problems() == []
    monkeypatch.setattr('sys.argv', ['tool', 'add', 'thing'])
    with pytest.raises(SystemExit, match='--without-manifest'):
        small.main()
