"""Versions, devices and what is installed, for bug reports."""

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import List, Tuple

from mmfusion.utils import UserError, friendly_main, setup_cpu_env
from mmfusion.utils.shipped import config_names, shipped_configs

#: Modules, and the distributions that may hold them.
STACK = (
    ('mmengine', ('onedl-mmengine', 'mmengine')),
    ('mmcv', ('onedl-mmcv', 'mmcv')),
    ('mmdet', ('onedl-mmdetection', 'mmdet')),
    ('mmseg', ('onedl-mmsegmentation', 'mmsegmentation')),
)
LIBRARIES = ('numpy', 'scipy', 'opencv-python-headless', 'pillow', 'safetensors')


@friendly_main
def main(argv=None) -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description='Show versions, devices and what is installed, for bug reports')
    parser.parse_args(argv)
    setup_cpu_env()  # before torch is imported
    print('\n'.join(f'{name:14s} {value}' for name, value in installation()))


def installation() -> List[Tuple[str, str]]:
    """What is installed, as pairs of a name and a text; absent parts are named as absent."""
    import mmfusion

    rows = [('mmfusion', f'{mmfusion.__version__} in {os.path.dirname(mmfusion.__file__)}')]
    rows.append(('Python', f'{platform.python_version()}, {platform.platform()}'))
    rows += _torch()
    rows += [(module, _first_version(distributions)) for module, distributions in STACK]
    rows.append(('mmcv ops', _ops()))
    rows += [(name, _first_version((name,))) for name in LIBRARIES]
    return rows + [('configs', _configs()), ('models', _models())]


def _first_version(distributions: Tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return f'{version(name)} ({name})'
        except PackageNotFoundError:
            continue
    return 'not installed'


def _torch() -> List[Tuple[str, str]]:
    try:
        import torch
    except ImportError as error:
        return [('torch', f'not importable: {error}')]
    gpus = (
        [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )
    return [
        ('torch', f'{torch.__version__}, CUDA {torch.version.cuda or "absent"}'),
        ('GPU', ', '.join(gpus) or 'none'),
        ('CPU', f'{len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads of torch'),
    ]


def _ops() -> str:
    from mmfusion.utils import check_mmcv_ops

    try:
        check_mmcv_ops()
    except UserError as error:
        return str(error)
    except ImportError as error:
        return f'not importable: {error}'
    return 'compiled and working'


def _configs() -> str:
    return f'{len(config_names())} in {shipped_configs()}' if shipped_configs() else 'none'


def _models() -> str:
    from mmfusion.model_zoo.catalog import list_models, user_folder

    cards, problems = list_models()
    return (
        f'{len(cards)} by name'
        + (f', {len(problems)} damaged' if problems else '')
        + f'; added ones lie in {user_folder()}'
    )
