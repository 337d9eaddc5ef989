"""Set-up, checks and small tools. Importing this package loads neither torch nor mmengine: names are resolved on first
use.
"""

from .cpu_env import setup_cpu_env
from .errors import NonFiniteError, UserError, friendly_main
from .lazy import lazy_names

_LAZY = {
    'check_mmcv_ops': 'compat',
    'check_resumable': 'checkpoint',
    'collect_env': 'collect_env',
    'load_config': 'config',
    'load_fusion_checkpoint': 'checkpoint',
    'newest_checkpoint': 'checkpoint',
    'register_all_modules': 'setup_env',
    'safe_load': 'checkpoint',
    'select_device': 'device',
}

__all__ = ['NonFiniteError', 'UserError', 'friendly_main', 'setup_cpu_env', *_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY, moved={'ensure_writable_dir': 'mmfusion.fileio.paths'})
