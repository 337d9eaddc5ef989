"""Metadata of the package: pyproject.toml agrees with the requirement files, the set-up script and the citation
file.
"""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version


@pytest.fixture(scope='module')
def project(repo_dir):
    return tomllib.loads((repo_dir / 'pyproject.toml').read_text())['project']


def bare_names(path):
    return {line for line in path.read_text().splitlines() if line and not line.startswith('#')}


def pins(repo_dir):
    lines = (repo_dir / 'requirements' / 'constraints.txt').read_text().splitlines()
    return dict(line.split('==') for line in lines if '==' in line and not line.startswith('#'))


def test_dependencies_are_those_of_the_runtime_file(project, repo_dir):
    names = [Requirement(line).name for line in project['dependencies']]
    assert len(names) == len(set(names))
    assert set(names) == bare_names(repo_dir / 'requirements' / 'runtime.txt')


def test_every_dependency_has_a_lower_bound_that_the_pinned_version_meets(project, repo_dir):
    pinned = pins(repo_dir)
    for line in project['dependencies']:
        requirement = Requirement(line)
        assert [part.operator for part in requirement.specifier] == ['>='], line
        assert requirement.specifier.contains(Version(pinned[requirement.name])), line


def test_the_set_up_accepts_the_same_pythons(project, repo_dir):
    script = (repo_dir / 'requirements' / 'install.sh').read_text()
    low, high = re.search(r'\((3, \d+)\) <= sys\.version_info < \((3, \d+)\)', script).groups()
    assert project['requires-python'] == f'>={low.replace(", ", ".")},<{high.replace(", ", ".")}'
    named = re.search(
        r'Python ((?:3\.\d+, )+3\.\d+ or 3\.\d+|3\.\d+(?:, 3\.\d+)* or 3\.\d+) is needed \(tested: (3\.\d+)\)', script
    )
    accepted = SpecifierSet(project['requires-python'])
    assert re.findall(r'3\.\d+', named[1]) == [f'3.{minor}' for minor in range(30) if f'3.{minor}' in accepted]
    tested = [
        line.rsplit(' ', 1)[1]
        for line in project['classifiers']
        if line.startswith('Programming Language :: Python :: 3.')
    ]
    assert tested == [named[2]]


def test_version_and_license_are_the_same_everywhere(project, repo_dir):
    from mmfusion import __version__

    citation = yaml.safe_load((repo_dir / 'CITATION.cff').read_text())
    assert citation['title'] == project['name'] and citation['license'] == project['license']
    assert citation['version'] == __version__
    changes = (repo_dir / 'CHANGELOG.md').read_text()
    assert re.findall(r'^## (\S+)', changes, re.M)[0] in (__version__, 'Unreleased')
    assert f'\n## {__version__}' in changes


def test_workflows_run_what_everybody_runs(repo_dir):
    """The check is .ci/run, the documentation make docs, on the Python that is tested; forms and hooks can be read."""
    steps = {}
    for file in sorted((repo_dir / '.github' / 'workflows').glob('*.yml')):
        (job,) = yaml.safe_load(file.read_text())['jobs'].values()
        steps[file.stem] = ' '.join(step.get('run', '') for step in job['steps'])
        (python,) = [step['with']['python-version'] for step in job['steps'] if 'setup-python' in step.get('uses', '')]
        assert python == '3.11'
    assert '.ci/run' in steps['check'] and 'make docs' in steps['docs']
    for file in (repo_dir / '.github' / 'ISSUE_TEMPLATE').glob('*.yml'):
        form = yaml.safe_load(file.read_text())
        assert file.stem == 'config' or {'name', 'description', 'body'} <= form.keys(), file
    hooks = yaml.safe_load((repo_dir / '.pre-commit-config.yaml').read_text())
    entries = {hook['id']: hook.get('entry', '') for repo in hooks['repos'] for hook in repo['hooks']}
    lint = re.search(r'^lint:.*\n((?:\t.*\n)+)', (repo_dir / 'Makefile').read_text(), re.M)[1]
    for tool in ('ruff', 'mypy'):
        assert f'-m {tool}' in entries[tool] and f'-m {tool}' in lint


def test_types_are_published(repo_dir):
    assert (repo_dir / 'mmfusion' / 'py.typed').is_file() and 'include mmfusion/py.typed' in (
        repo_dir / 'MANIFEST.in'
    ).read_text()
