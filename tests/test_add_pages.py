"""The pages on adding something: each is followed to the letter in a copy of the project, and what it adds works
there.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

REPO = Path(__file__).resolve().parents[1]
PAGES = sorted((REPO / 'docs' / 'en').glob('add_*.md'))
#: Tests that sweep over everything that is registered or shipped and should cover what the pages add, by expression for
#: ``pytest -k``.
SWEEPS = {
    'tests/test_models/test_fusers/test_every_fuser.py': 'WeightMapFuser',
    'tests/test_models/test_losses/test_fusion_losses.py': 'Charbonnier',
    'tests/test_configs.py': 'weight_map or warm_up or harbor',
    'tests/test_evaluation/test_functional.py': 'MC',
    'tests/test_metrics_page.py': 'test_range_and_source',
    'tests/test_docs.py': 'test_the_tables_list_everything',
    'tests/test_cli/test_main.py': 'explains_itself[difference]',
}


class Piece(NamedTuple):
    """One thing that a page asks for: ``kind`` is ``'file'``, ``'line'`` or ``'row'``."""

    kind: str
    path: str
    after: str
    code: str


def pieces(page):
    """What a page asks for, in its order; rows are text blocks with a table row, for the page that is linked last
    before them.
    """
    text = page.read_text()
    found = []
    for match in re.finditer(r'^```(python|text)\n(.*?)^```', text, re.S | re.M):
        language, code = match.groups()
        head = re.match(r'# (file|line) (\S+)(?: after (.*))?\n', code)
        if language == 'python' and head:
            found.append(Piece(head[1], head[2], head[3] or '', code[head.end() :]))
        elif language == 'text' and code.startswith('|'):
            linked = re.findall(r'\]\((\w+\.md)(?:#[\w-]+)?\)', text[: match.start()])[-1]
            found.append(Piece('row', f'docs/en/{linked}', '', code))
    return found


def follow(piece, root):
    """Do what a piece asks for below ``root``."""
    target = root / piece.path
    if piece.kind == 'file':
        assert not target.exists(), f'{piece.path} is there already'
        target.write_text(piece.code)
        return
    lines = target.read_text().splitlines()
    if piece.kind == 'row':
        columns = piece.code.count('|')
        rows = [
            index for index, line in enumerate(lines) if re.fullmatch(r'\|(-+\|)+', line) and line.count('|') == columns
        ]
        assert rows, f'{piece.path} has no table of {columns - 1} columns'
        lines.insert(rows[0] + 1, piece.code.rstrip())
    elif piece.after:
        places = [index for index, line in enumerate(lines) if piece.after in line]
        assert places, f'{piece.path} has no line with {piece.after!r}'
        lines.insert(places[0] + 1, piece.code.rstrip())
    else:
        imports = [
            node.end_lineno
            for node in ast.parse(target.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.level
        ]
        lines.insert(imports[-1], piece.code.rstrip())
        lines.append(f'__all__ += {re.findall(r"import (.+)", piece.code)}')
    target.write_text('\n'.join(lines) + '\n')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_number_of_places(page):
    """The page says how many files it touches."""
    (number,) = re.findall(r'\*\*(\d+) places\*\*', page.read_text())
    assert int(number) == len({piece.path for piece in pieces(page)})


@pytest.fixture(scope='module')
def followed(tmp_path_factory):
    """A copy of the project in which every page has been followed."""
    root = tmp_path_factory.mktemp('followed')
    ignore = shutil.ignore_patterns('.mim', '__pycache__', '_build', 'data', 'images')
    for name in ('mmfusion', 'configs', 'tests', 'docs', 'tools', 'demo'):
        shutil.copytree(REPO / name, root / name, ignore=ignore)
    for name in (
        'README.md',
        'CONTRIBUTING.md',
        'CHANGELOG.md',
        'Makefile',
        'pyproject.toml',
        'setup.py',
        'model-index.yml',
    ):
        shutil.copy(REPO / name, root / name)
    (root / 'tests' / 'data').symlink_to(REPO / 'tests' / 'data')
    for page in PAGES:
        for piece in pieces(page):
            follow(piece, root)
    return root


def test_every_page_works_when_followed(followed):
    """The tests of the pages pass, and those that sweep find what was added and pass too."""
    own = [
        piece.path
        for page in PAGES
        for piece in pieces(page)
        if piece.kind == 'file' and piece.path.startswith('tests/')
    ]
    assert len(own) == len(PAGES)
    expression = ' or '.join(dict.fromkeys([*(Path(path).stem for path in own), *SWEEPS.values()]))
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-rA', *own, *SWEEPS, '-k', expression]
    result = subprocess.run(
        command,
        cwd=followed,
        env={**os.environ, 'PYTHONPATH': str(followed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-6000:]
    passed = re.findall(r'^PASSED (\S+?)::(.*)$', result.stdout, re.M)
    for path in own:
        assert any(file == path for file, _ in passed), path
    for path, wanted in SWEEPS.items():
        for name in wanted.split(' or '):
            assert any(file == path and name in test for file, test in passed), (path, name)
