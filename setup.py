"""``mmfusion/.mim``: the configs, tools and model index that travel inside the package. The metadata stand in
pyproject.toml.
"""

import shutil
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
MIM_FILES = ('configs', 'tools', 'demo', 'model-index.yml')


def add_mim_files() -> None:
    """Put configs and tools into the package: links when installed in editable mode, copies in a wheel or an sdist."""
    copy = any(command in sys.argv for command in ('sdist', 'bdist_wheel', 'install'))
    mim = ROOT / 'mmfusion' / '.mim'
    mim.mkdir(exist_ok=True)
    for name in MIM_FILES:
        source, target = ROOT / name, mim / name
        if not source.exists():  # an unpacked sdist has them inside the package only
            continue
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        if not copy:
            target.symlink_to(Path('..', '..', name))
        elif source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        else:
            shutil.copyfile(source, target)


if __name__ == '__main__':
    add_mim_files()
    setup()
