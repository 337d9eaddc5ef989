"""Names of a package that are resolved on first use, so that importing the package loads neither torch nor mmengine."""
from importlib import import_module
from typing import Callable, Dict, Mapping, Tuple


def lazy_names(package: Dict[str, object], names: Mapping[str, str]) -> Tuple[Callable, Callable]:
    """The functions ``__getattr__`` and ``__dir__`` of a package (PEP 562) whose names live in its submodules.

    Args:
        package: ``globals()`` of the package.
        names: Public name -> submodule that has it.
    """

    def resolve(name: str):
        if name not in names:
            raise AttributeError(f'module {package["__name__"]!r} has no attribute {name!r}')
        module = import_module(f'{package["__name__"]}.{names[name]}')
        value = package[name] = getattr(module, name)  # a submodule of the same name must not shadow a function
        return value

    return resolve, lambda: sorted({*package, *names})
