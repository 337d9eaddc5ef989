"""Trained fusers by name: those that ship with the package, and those that a user added."""

from mmfusion.utils.lazy import lazy_names

# Resolved on first use: asking for the names loads neither torch nor mmengine.
_LAZY = {
    'DEFAULT_MODEL': 'catalog',
    'ModelCard': 'card',
    'add_model': 'adding',
    'find_model': 'catalog',
    'list_models': 'catalog',
    'load_model': 'loading',
    'read_card': 'card',
    'remove_model': 'adding',
    'user_folder': 'catalog',
    'write_model': 'writing',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
