"""Checks of the OpenMMLab stack before mmdet is imported, and the private names of other packages that mmfusion depends on."""
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, List

from .errors import UserError

# import name -> (name on the registry, first version that works, first that is not known to)
REQUIRED = {
    'mmengine': ('onedl-mmengine', '0.10.8', '1.0.0'),
    'mmcv': ('onedl-mmcv', '2.3.0', '3.0.0'),
    'mmdet': ('onedl-mmdetection', '3.5.0', '4.0.0'),
    'mmseg': ('onedl-mmsegmentation', '1.4.0', '2.0.0'),
}
_CONSTRAINTS = '-c requirements/constraints.txt'
INSTALL_ALL = f'pip install --no-deps --no-build-isolation {_CONSTRAINTS} -r requirements/mminstall.txt'
REBUILD_OPS = f'pip install --no-deps --no-build-isolation --no-cache-dir --force-reinstall {_CONSTRAINTS} onedl-mmcv'


def check_mmcv_ops() -> None:
    """Raise one clear error, with the command that fixes it, when the stack is missing, too old or without compiled ops.

    Raises:
        UserError: A package is missing or has a version that is not supported, or mmcv has no (working) compiled ops.
    """
    for name, (package, low, high) in REQUIRED.items():
        if find_spec(name) is None:
            raise UserError(f'{name} ({package}) is not installed. Run `make setup` in the repository, or, with torch installed:\n'
                            f'  pip install {_CONSTRAINTS} -r requirements/build.txt -r requirements/runtime.txt\n  {INSTALL_ALL}')
        version = _installed_version(name, package)
        if not _as_tuple(low) <= _as_tuple(version) < _as_tuple(high):
            raise UserError(f'{name} {version} is installed, mmfusion needs >={low},<{high}. Run:\n'
                            f'  pip install --no-deps --no-build-isolation {_CONSTRAINTS} {package}')
    try:
        import_module('torch')  # the ops link against torch's libraries, which must be loaded first
        import_module('mmcv._ext')
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == 'mmcv._ext'
        reason = 'it was installed without them' if missing else f'they do not load with this torch ({error})'
        raise UserError(f'mmcv has no compiled ops: {reason}. With torch and a C++ compiler installed, run:\n  {REBUILD_OPS}') from error


def _installed_version(name: str, package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a source checkout, or the package under its upstream name
        return str(getattr(import_module(name), '__version__', '0'))


def _as_tuple(version: str) -> tuple:
    """Numeric part of a version: '2.3.6rc1' -> (2, 3, 6).

    Examples:
        >>> _as_tuple('0.10.12') > _as_tuple('0.10.8')
        True
    """
    parts = []
    for piece in version.split('.')[:3]:
        digits = ''.join(iter_leading_digits(piece))
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)


def iter_leading_digits(text: str):
    """Yield the digits that ``text`` begins with."""
    for char in text:
        if not char.isdigit():
            return
        yield char


def read_yaml_as_data() -> None:
    """Let mmengine read yaml as data: its own handler builds any Python object that a file names, and so runs any code."""
    import mmengine.fileio

    from mmfusion.fileio.yaml_handler import PlainYamlHandler
    mmengine.fileio.register_handler(['yaml', 'yml'])(PlainYamlHandler)


# Private names of other packages. A new release of one of them is checked here.


def accumulative_counts(optim_wrapper: Any) -> int:
    """Number of iterations whose gradients an optimizer wrapper of mmengine gathers for one step."""
    return optim_wrapper._accumulative_counts


def scope_names() -> List[str]:
    """Names of all instances of mmengine's DefaultScope."""
    from mmengine.registry import DefaultScope
    return list(DefaultScope._instance_dict)


def array_globals() -> list:
    """What pickled numpy arrays and numbers refer to, under the names of numpy 2 and numpy 1."""
    import numpy as np
    multiarray = np._core.multiarray
    names = [np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar, np._core.numeric._frombuffer]
    return names + [(getattr(multiarray, name), f'numpy.core.multiarray.{name}') for name in ('_reconstruct', 'scalar')]


def inside_functorch() -> bool:
    """Whether a transformation of torch.func (grad, vmap...) is running."""
    import torch
    return torch._C._functorch.peek_interpreter_stack() is not None
