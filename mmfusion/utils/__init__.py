"""Set-up, checks and small tools. Importing this package loads neither torch nor mmengine: names are resolved on first use."""
from importlib import import_module

from .cpu_env import setup_cpu_env
from .errors import NonFiniteError, UserError, friendly_main

_LAZY = {
    'check_mmcv_ops': 'compat',
    'check_resumable': 'checkpoint',
    'collect_env': 'collect_env',
    'ensure_writable_dir': 'paths',
    'load_config': 'config',
    'load_fusion_checkpoint': 'checkpoint',
    'newest_checkpoint': 'checkpoint',
    'register_all_modules': 'setup_env',
    'safe_load': 'checkpoint',
    'select_device': 'device',
}

__all__ = ['NonFiniteError', 'UserError', 'friendly_main', 'setup_cpu_env', *_LAZY]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = import_module(f'{__name__}.{_LAZY[name]}')
    value = globals()[name] = getattr(module, name)  # a submodule of the same name (collect_env) must not shadow the function
    return value


def __dir__() -> list:
    return sorted({*globals(), *_LAZY})
