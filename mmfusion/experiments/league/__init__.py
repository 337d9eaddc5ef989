"""League of fusers: methods side by side on the same pairs, by metrics, by task networks and by what they cost."""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'League': 'run',
    'Settings': 'settings',
    'league': 'run',
    'read_settings': 'settings',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
