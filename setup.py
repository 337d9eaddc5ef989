"""Package metadata, and ``mmfusion/.mim``: the configs, tools and model index that travel inside the package."""
import re
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
MIM_FILES = ('configs', 'tools', 'demo', 'model-index.yml')


def read_requirements(name: str) -> list:
    """The bare names in ``requirements/{name}.txt``; versions stand in ``requirements/constraints.txt``."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def read_version() -> str:
    return re.search(r"__version__ = '([^']+)'", (ROOT / 'mmfusion' / 'version.py').read_text()).group(1)


def read_readme() -> str:
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.exists() else ''


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
    setup(
        name='mmfusion',
        version=read_version(),
        description='Image fusion coupled with mmdet detectors and mmseg segmentors',
        long_description=read_readme(),
        long_description_content_type='text/markdown',
        keywords='computer vision, image fusion, infrared and visible, object detection, semantic segmentation',
        license='Apache-2.0',
        license_files=['LICENSE'],
        classifiers=[
            'Development Status :: 3 - Alpha',
            'Intended Audience :: Science/Research',
            'Programming Language :: Python :: 3',
            'Programming Language :: Python :: 3.11',
            'Topic :: Scientific/Engineering :: Image Recognition',
        ],
        python_requires='>=3.11',
        packages=find_packages(include=['mmfusion', 'mmfusion.*']),
        include_package_data=True,
        install_requires=read_requirements('runtime'),
        extras_require={name: read_requirements(name) for name in ('mminstall', 'tests', 'docs', 'optional')},
        zip_safe=False,
    )
