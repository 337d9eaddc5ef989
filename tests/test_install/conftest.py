"""The package as users get it: built once for all tests of this folder."""

import shutil
import subprocess
import sys

import pytest


@pytest.fixture(scope='session')
def built(repo_dir, tmp_path_factory):
    """Wheel and sdist, built from a copy so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp('source') / 'mmfusion'
    ignore = shutil.ignore_patterns(
        '.git', '.venv', '.mim', '__pycache__', 'work_dirs', 'data', 'build', 'dist', '_build', '*.egg-info', 'tests'
    )
    shutil.copytree(repo_dir, source, ignore=ignore)
    dist = tmp_path_factory.mktemp('dist')
    for kind in ('bdist_wheel', 'sdist'):
        result = subprocess.run(
            [sys.executable, 'setup.py', '-q', kind, '--dist-dir', str(dist)],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-2000:]
    return dist
