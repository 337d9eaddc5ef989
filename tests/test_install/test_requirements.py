"""Requirement files, constraints, and what the set-up script promises."""

import re
import subprocess

import pytest

FILES = ('build', 'mminstall', 'runtime', 'tests', 'docs', 'optional', 'serve', 'export', 'runtime_only')


def names(path):
    lines = [line.split('#')[0].strip() for line in path.read_text().splitlines()]
    return [re.split(r'[=<>!~;\[ ]', line)[0].lower() for line in lines if line]


@pytest.fixture(scope='module')
def requirements(repo_dir):
    return repo_dir / 'requirements'


def test_every_direct_requirement_is_pinned_and_every_pin_is_used(requirements):
    pinned = names(requirements / 'constraints.txt')
    wanted = {name for file in FILES for name in names(requirements / f'{file}.txt')}
    assert wanted == set(pinned)
    assert len(pinned) == len(set(pinned))
    for line in (requirements / 'constraints.txt').read_text().splitlines():
        assert not line or line.startswith('#') or re.fullmatch(r'[a-z0-9-]+==[0-9][0-9a-z.]*', line), line


def test_requirement_files_hold_bare_names(requirements):
    for file in FILES:
        for line in (requirements / f'{file}.txt').read_text().splitlines():
            assert not line or line.startswith('#') or re.fullmatch(r'[a-z0-9-]+', line), f'{file}.txt: {line}'


def test_torchvision_is_not_needed(requirements):
    assert not any('torchvision' in names(requirements / f'{file}.txt') for file in (*FILES, 'constraints'))


def test_installed_versions_are_the_pinned_ones(requirements):
    from importlib.metadata import PackageNotFoundError, version

    checked = 0
    for line in (requirements / 'constraints.txt').read_text().splitlines():
        if '==' not in line:
            continue
        name, pinned = line.split('==')
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue  # a development environment may lack the optional ones
        assert installed.split('+')[0] == pinned, name
        checked += 1
    assert checked > 20


def run_install(repo_dir, tmp_path, **env):
    return subprocess.run(
        ['bash', str(repo_dir / 'requirements' / 'install.sh')],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={'PATH': '/usr/bin:/bin', 'VENV': str(tmp_path / 'venv'), **env},
    )


def test_wrong_python_is_one_clear_message(repo_dir, tmp_path):
    fake = tmp_path / 'python'
    fake.write_text('#!/bin/sh\nexit 1\n')
    fake.chmod(0o755)
    result = run_install(repo_dir, tmp_path, PYTHON=str(fake))
    assert result.returncode == 1 and 'Python 3.11, 3.12 or 3.13 is needed' in result.stderr
    assert not (tmp_path / 'venv').exists()


def test_missing_compiler_is_one_clear_message(repo_dir, tmp_path):
    """The virtual environment has no mmcv ops, so a compiler is wanted: all its commands are faked but the check
    itself.
    """
    fake = tmp_path / 'venv' / 'bin' / 'python'
    fake.parent.mkdir(parents=True)
    fake.write_text(
        '#!/bin/sh\n[ "$1" = -m ] && exit 0\nread -r line\ncase "$line" in "import os, torch") echo cpu ;; *) '
        'exit 1 ;; esac\n'
    )
    fake.chmod(0o755)
    result = run_install(repo_dir, tmp_path, CXX='no-such-compiler')
    assert result.returncode == 1 and 'no C++ compiler (no-such-compiler) was found' in result.stderr, result.stderr


def test_make_knows_its_targets(repo_dir):
    for target in ('demo', 'test', 'lint', 'doctest', 'docs', 'build'):
        result = subprocess.run(
            ['make', '--dry-run', target], cwd=repo_dir, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stderr
