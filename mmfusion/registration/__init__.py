"""Registration of pairs: how the second image lies on the first, and whether to believe it. Names are resolved on first
use.
"""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'Lens': 'rig',
    'Registration': 'registering',
    'Rig': 'rig',
    'build_registrar': 'registrar',
    'estimate_rig': 'rig',
    'register_pair': 'registering',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
