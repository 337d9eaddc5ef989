"""README and documentation: links lead somewhere, paths, options and type names exist, examples run."""

import importlib
import re
import shutil
import subprocess
import types
from pathlib import Path

import pytest

from mmfusion.experiments.doctor import CHECKS
from mmfusion.models.couplings import BaseCoupling
from mmfusion.models.fusers import BaseFuser
from mmfusion.models.losses import BaseFusionLoss
from mmfusion.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    TRANSFORMS,
    WEIGHT_INITIALIZERS,
)
from mmfusion.utils import load_config

REPO = Path(__file__).resolve().parents[1]
PAGES = [
    REPO / 'README.md',
    REPO / 'CONTRIBUTING.md',
    REPO / 'CHANGELOG.md',
    *sorted((REPO / 'docs' / 'en').glob('[a-z]*/*.md')),
    *sorted((REPO / 'docs' / 'en').glob('*.md')),
]
FENCE = re.compile(r'^```(\w+)\n(.*?)^```', re.S | re.M)
PATH = re.compile(r'(?<![\w/.-])(?:configs|tools|demo|tests|mmfusion|requirements)/[\w./-]*\w')
# Packages that are no promise to users.
INNER = {'mmfusion.models', 'mmfusion.engine', 'mmfusion.evaluation', 'mmfusion.datasets.demo_scenes'}
# Options of other programs that the pages mention.
FOREIGN_OPTIONS = {
    '--extra-index-url',
    '--no-deps',
    '--no-build-isolation',
    '--no-cache-dir',
    '--force-reinstall',
    '--editable',
    '--logdir',
    '--build-arg',
    '--rm',
    '--dist',
    *('--onnx', '--save', '--min', '--opt', '--max'),  # of trtexec, whose names go on in capitals
}


def page_id(page):
    return page.name


def blocks(text, kind=None):
    """Python code blocks as (kind, argument, code).

    The kind stands in the first line: ``# runnable``, ``# config NAME``, ``# file PATH``, ``# line PATH``.
    """
    found = []
    for language, code in FENCE.findall(text):
        head = re.match(r'# (runnable|config|file|line)(?: (\S+))?(?: after .*)?\n', code)
        if language == 'python' and head:
            found.append((head[1], head[2], code))
    return [block for block in found if kind in (None, block[0])]


def examples(kind):
    return [
        pytest.param(page, argument, code, id=f'{page.stem}-{index}')
        for page in PAGES
        for index, (_, argument, code) in enumerate(blocks(page.read_text(), kind))
    ]


def slugs(text):
    """Anchors that GitHub and MyST give the headings of a page."""
    titles = re.findall(r'^#+ (.+)$', FENCE.sub('', text), re.M)
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles}


def broken_links(page, text):
    """Relative links of a page whose file or heading does not exist."""
    broken = []
    for target in re.findall(r'\]\(([^)\s]+)\)', FENCE.sub('', text)):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, anchor = target.partition('#')
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in slugs(text if file == page else file.read_text())):
            broken.append(target)
    return broken


def invented_paths():
    """Files that the examples tell the reader to make."""
    return {
        (f'configs/{argument}' if kind == 'config' else argument)
        for page in PAGES
        for kind, argument, _ in blocks(page.read_text())
        if kind in ('config', 'file')
    }


def missing_paths(text):
    """Paths of the repository that a text mentions and that do not exist."""
    return sorted({path for path in PATH.findall(text) if not (REPO / path).exists()} - invented_paths())


def known_options():
    sources = [
        *(REPO / 'mmfusion' / 'cli').glob('*.py'),
        *(REPO / 'tools').rglob('*.py'),
        *(REPO / 'benchmarks').glob('*.py'),
        REPO / 'tests' / 'twins' / 'meta_step_twin.py',
        REPO / 'tests' / 'fuzz' / 'fuzzing.py',
        REPO / 'docs' / 'results_tables.py',
    ]
    return {option for file in sources for option in re.findall(r"'(--[a-z-]+)'", file.read_text())} | FOREIGN_OPTIONS


def unknown_options(text):
    return sorted(set(re.findall(r'(?<![\w-])--[a-z][a-z-]+', text)) - known_options())


def unknown_types(text):
    """Type names in configs of a text that no registry knows and no example defines."""
    defined = set(re.findall(r'^class (\w+)', text, re.M))
    names = set(re.findall(r"(?<!\w)type='([\w.]+)'", text)) - defined
    registries = (MODELS, DATASETS, TRANSFORMS, HOOKS, METRICS, LOOPS, OPTIMIZERS, DATA_SAMPLERS, WEIGHT_INITIALIZERS)
    return sorted(name for name in names if all(registry.get(name) is None for registry in registries))


def invented_types():
    """Classes that the examples tell the reader to write."""
    return {
        name
        for page in PAGES
        for _, _, code in blocks(page.read_text(), 'file')
        for name in re.findall(r'^class (\w+)', code, re.M)
    }


def shipped(base, registry=MODELS):
    return {
        name
        for name, cls in registry.module_dict.items()
        if isinstance(cls, type) and cls.__module__.startswith('mmfusion.') and (base is None or issubclass(cls, base))
    }


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    assert broken_links(page, page.read_text()) == []


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_paths_options_and_types_exist(page):
    text = page.read_text()
    assert missing_paths(text) == []
    assert unknown_options(text) == []
    assert unknown_types(text) == []


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_make_targets_exist(page):
    targets = set(re.findall(r'^([a-z-]+):', (REPO / 'Makefile').read_text(), re.M))
    used = set()
    for arguments in re.findall(r'(?:`|^|: |= )make ([^`\n]+)', page.read_text(), re.M):
        used.add(re.sub(r"[A-Z_]+=('[^']*'|[^'\s]\S*) ", '', arguments).split()[0])
    assert used <= targets


def test_the_checks_find_what_is_wrong():
    page = REPO / 'README.md'
    assert broken_links(
        page,
        '[a](docs/en/none.md) [b](docs/en/coupling.md#nowhere) [c](docs/en/coupling.md#a-config) [d](https://x.y/z)',
    ) == ['docs/en/none.md', 'docs/en/coupling.md#nowhere']
    assert missing_paths('run `tools/train.py configs/never_written.py`, see tools/.') == ['configs/never_written.py']
    assert unknown_options('`--resume` and `--resumee`') == ['--resumee']
    assert unknown_types("dict(type='JointCopling'), dict(type='mmdet.RTMDet')") == ['JointCopling']


@pytest.mark.parametrize('page, argument, code', examples('runnable'))
def test_example_runs(page, argument, code, monkeypatch):
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(CHECKS, '_module_dict', {**CHECKS.module_dict})  # what an example adds would stay in messages
    exec(compile(code, f'{page.name} example', 'exec'), {'__name__': '__example__'})


@pytest.mark.parametrize(
    'page, name, code', [*examples('config'), *(p for p in examples('file') if p.values[1].startswith('configs/'))]
)
def test_config_example_can_be_read(page, name, code, tmp_path):
    for file in (REPO / 'configs').iterdir():
        (tmp_path / file.name).symlink_to(file)
    target = tmp_path / Path(name).name
    target.write_text(code)
    cfg = load_config(target)
    assert cfg.model.type in shipped(BaseCoupling) | invented_types()
    assert set(unknown_types(code)) <= invented_types()


@pytest.mark.parametrize('page, argument, code', [*examples('file'), *examples('line')])
def test_file_example_compiles(page, argument, code):
    if not re.match(r'# line \S+ after ', code):  # part of a statement, which tests/test_add_pages.py puts in its place
        compile(code, argument, 'exec')
    assert (REPO / argument).parent.is_dir()


def test_the_tables_list_everything_that_ships():
    fusers, data, couplings = (
        (REPO / 'docs' / 'en' / name).read_text() for name in ('fusers.md', 'data_preparation.md', 'coupling.md')
    )
    for name in shipped(BaseFuser) | shipped(BaseFusionLoss):
        assert f'`{name}`' in fusers, name
    for name in shipped(None, DATASETS):
        assert f'`{name}`' in data, name
    for name in shipped(BaseCoupling):
        assert re.search(rf'^\| `{name}[`(]', couplings, re.M), name


def public_packages():
    """Packages that promise names of their own: those with an ``__all__`` that holds more than modules, down to the
    third level.
    """
    for file in sorted((REPO / 'mmfusion').glob('*/__init__.py')) + sorted((REPO / 'mmfusion').glob('*/*/__init__.py')):
        if '__all__' in file.read_text():
            package = importlib.import_module('.'.join(file.parent.relative_to(REPO).parts))
            if any(not isinstance(getattr(package, name), types.ModuleType) for name in package.__all__):
                yield package.__name__


def test_the_reference_has_every_package():
    """What is left out is how one package is made, or is named again above."""
    pages = ''.join(page.read_text() for page in (REPO / 'docs' / 'en' / 'reference').glob('*.md'))
    documented = re.findall(r'^\.\. automodule:: (\S+)$', pages, re.M)
    assert len(documented) == len(set(documented))
    assert set(public_packages()) - INNER == set(documented)


def table_rows(text):
    return [line for line in text.splitlines() if line.startswith('|')]


def test_results_of_the_readme_are_those_of_their_page():
    """Every row, with its header, stands on the page with the commands."""
    rows = table_rows((REPO / 'README.md').read_text())
    page = table_rows((REPO / 'docs' / 'en' / 'results.md').read_text())
    assert len(rows) > 4 and [row for row in rows if row not in page] == []


def test_metrics_of_the_readme(tmp_path, monkeypatch, capsys):
    """The lines under Measure run on three pictures with these names."""
    (code,) = (
        code
        for language, code in FENCE.findall((REPO / 'README.md').read_text())
        if language == 'python' and 'evaluate_metrics' in code
    )
    assert len([line for line in code.splitlines() if line]) <= 5
    for name, source in (('fused', 'noise_max'), ('visible', 'noise_vi'), ('infrared', 'noise_ir')):
        shutil.copy(REPO / 'tests' / 'data' / 'metrics' / 'pairs' / f'{source}.png', tmp_path / f'{name}.png')
    monkeypatch.chdir(tmp_path)
    exec(compile(code, 'README.md', 'exec'), {'__name__': '__example__'})
    assert "'Qabf': tensor([0." in capsys.readouterr().out


def test_usage_lines_of_shell_tools_are_shown():
    """The shell tools print their usage from their own head, as the pages describe it."""
    for script in sorted((REPO / 'tools').glob('*.sh')):
        result = subprocess.run(['bash', str(script)], capture_output=True, text=True)
        assert result.returncode == 2 and script.name in result.stderr
