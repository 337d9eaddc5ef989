"""Names of a package that are resolved on first use, so that importing the package loads neither torch nor mmengine."""

from importlib import import_module
from typing import Callable, Dict, Mapping, Optional, Tuple

from mmfusion.moved import moved_names


def lazy_names(
    package: Dict[str, object], names: Mapping[str, str], moved: Optional[Mapping[str, str]] = None
) -> Tuple[Callable, Callable]:
    """The functions ``__getattr__`` and ``__dir__`` of a package (PEP 562) whose names live in its submodules.

    Args:
        package: ``globals()`` of the package.
        names: Public name -> submodule that has it.
        moved: Names that went to other packages -> module that has it today; they come with a warning.
    """
    former = moved_names(package['__name__'], moved or {})

    def resolve(name: str):
        if name not in names:
            return former(name, 3)
        module = import_module(f'{package["__name__"]}.{names[name]}')
        value = package[name] = getattr(module, name)  # a submodule of the same name must not shadow a function
        return value

    return resolve, lambda: sorted({*package, *names})
