"""What programs call: fusing pictures, training, testing. Names are resolved on first use, so that the tools can check the installation first."""
from importlib import import_module

_LAZY = {
    'FusionInferencer': 'inferencer',
    'FusionResult': 'result',
    'build_coupling': 'build',
}

__all__ = [*_LAZY]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = globals()[name] = getattr(import_module(f'{__name__}.{_LAZY[name]}'), name)
    return value


def __dir__() -> list:
    return sorted({*globals(), *_LAZY})
