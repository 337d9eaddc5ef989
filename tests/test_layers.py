"""Who may know whom: imports run from upper layers to lower ones, and no module imports itself by way of others."""

import ast
import re
from pathlib import Path
from typing import Dict, Iterator, List, Set

import pytest

REPO = Path(__file__).resolve().parents[1]
PACKAGE = REPO / 'mmfusion'
#: From bottom to top. What stands in one line does not know each other; the longest name that fits a module counts.
LAYERS = [
    'moved version utils.interrupt',
    'utils.errors utils.lazy',
    'fileio',
    'utils',
    'registry structures manifest registration thermal video.streams video.threads',
    'evaluation.functional',
    'video.gray video.motion video.pairing video.reading video.steadying video.writing',
    'video.offset',
    'video.aligning',
    'evaluation.protocols runtime',
    'evaluation evaluation.reports',
    'evaluation.folders evaluation.metrics',
    'datasets visualization models.layers',
    'models.scoped',
    'models.pretrained',
    'models.fusers models.guides models.losses models.data_preprocessors models.weight_init',
    'models.couplings',
    'models',
    'engine model_zoo',
    'running',
    'apis',
    'profiling serve video export',
    'experiments',
    'cli',
]
RANKS = {f'mmfusion.{room}': rank for rank, line in enumerate(LAYERS) for room in line.split()}


def modules() -> Dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob('*.py'):
        if '.mim' not in path.parts:
            parts = path.relative_to(REPO).with_suffix('').parts
            found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


MODULES = modules()


def imported(name: str, source: str, everywhere: bool = True) -> Iterator[str]:
    """Modules of the package that a module imports, also inside functions if ``everywhere``."""
    package = name.split('.') if MODULES.get(name, Path()).name == '__init__.py' else name.split('.')[:-1]
    tree = ast.parse(source)
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (
                '.'.join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
                if node.level
                else node.module
            )
            targets = [f'{base}.{alias.name}' if f'{base}.{alias.name}' in MODULES else base for alias in node.names]
        else:
            continue
        yield from (target for target in targets if target.split('.')[0] == 'mmfusion')


def room(name: str) -> str:
    """The longest entry of :data:`LAYERS` that a module belongs to."""
    fits = [entry for entry in RANKS if name == entry or name.startswith(f'{entry}.')]
    return max(fits, key=len) if fits else ''


def upward(name: str, targets: Iterator[str]) -> List[str]:
    """Imports that do not run down."""
    home = room(name)
    return [
        f'{name} -> {target}'
        for target in targets
        if target in MODULES and target != 'mmfusion' and room(target) != home and RANKS[room(target)] >= RANKS[home]
    ]


def test_every_module_has_a_layer():
    assert [name for name in MODULES if not room(name) and name not in ('mmfusion', 'mmfusion.__main__')] == []


def test_no_arrow_runs_up():
    arrows = [
        arrow
        for name, path in MODULES.items()
        if room(name)
        for arrow in upward(name, imported(name, path.read_text()))
    ]
    assert not arrows, '\n'.join(arrows)


def test_an_arrow_that_runs_up_is_found():
    text = 'def f():\n    from ..models.couplings import base\n    import mmfusion.fileio\n'
    assert upward('mmfusion.datasets.new', imported('mmfusion.datasets.new', text)) == [
        'mmfusion.datasets.new -> mmfusion.models.couplings.base'
    ]


def test_no_module_imports_itself_by_way_of_others():
    graph: Dict[str, Set[str]] = {
        name: {target for target in imported(name, path.read_text(), everywhere=False) if target in MODULES} - {name}
        for name, path in MODULES.items()
    }
    done: Set[str] = set()

    def visit(name: str, way: List[str]) -> None:
        if name in way:
            pytest.fail(' -> '.join([*way[way.index(name) :], name]))
        if name not in done:
            for target in graph[name]:
                if not name.startswith(f'{target}.'):  # a module whose package re-exports it
                    visit(target, [*way, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_metric_functions_know_nothing_of_the_package():
    for name, path in MODULES.items():
        if name.startswith('mmfusion.evaluation.functional'):
            targets = {
                target
                for target in imported(name, path.read_text())
                if not target.startswith('mmfusion.evaluation.functional')
            }
            assert targets <= {'mmfusion.moved'}, name
            assert not re.search(r'^\s*(from|import) mm(cv|det|seg|engine)', path.read_text(), re.M), name


def test_the_page_states_the_order():
    text = (REPO / 'docs' / 'en' / 'contributing.md').read_text()
    stated = [
        line.split('|')[1].replace('`', '').split()
        for line in text.splitlines()
        if line.startswith('| `') and 'layer:' in line
    ]
    assert stated == [line.split() for line in reversed(LAYERS)]
