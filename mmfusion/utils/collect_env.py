"""Versions and hardware, for bug reports: ``python -m mmfusion.utils.collect_env``."""

import os


def collect_env() -> dict:
    """What mmengine reports (Python, torch, GPU, compiler), and the versions of this stack."""
    from mmengine.utils import get_git_hash
    from mmengine.utils.dl_utils import collect_env as collect_base_env

    import mmfusion

    env = collect_base_env()
    for name in ('mmcv', 'mmdet', 'mmseg'):
        try:
            env[name] = __import__(name).__version__
        except ImportError as error:
            env[name] = f'not importable: {error}'
    env['mmfusion'] = f'{mmfusion.__version__}+{get_git_hash()[:7]}'
    env['OMP_WAIT_POLICY'] = os.environ.get('OMP_WAIT_POLICY', 'not set')
    return env


if __name__ == '__main__':
    for key, value in collect_env().items():
        print(f'{key}: {value}')
