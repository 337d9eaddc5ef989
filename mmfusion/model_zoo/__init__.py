"""Trained fusers by name: those that ship with the package, and those that a user added."""
from importlib import import_module

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


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(f'{__name__}.{_LAZY[name]}'), name)
    return value


def __dir__() -> list:
    return sorted({*globals(), *_LAZY})
