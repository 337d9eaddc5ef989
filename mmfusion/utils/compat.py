"""Checks of the OpenMMLab stack before mmdet is imported, and the private names of other packages that mmfusion depends
on.
"""

import multiprocessing
import time
from contextlib import contextmanager
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, Callable, Iterator, List, Optional

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
    """Raise one clear error, with the command that fixes it, when the stack is missing, too old or without compiled
    ops.

    Raises:
        UserError: A package is missing or has a version that is not supported, or mmcv has no (working) compiled ops.
    """
    for name, (package, low, high) in REQUIRED.items():
        if find_spec(name) is None:
            raise UserError(
                f'{name} ({package}) is not installed. Run `make setup` in the repository, or, with torch installed:\n'
                f'  pip install {_CONSTRAINTS} -r requirements/build.txt -r requirements/runtime.txt\n  {INSTALL_ALL}'
            )
        version = _installed_version(name, package)
        if not _as_tuple(low) <= _as_tuple(version) < _as_tuple(high):
            raise UserError(
                f'{name} {version} is installed, mmfusion needs >={low},<{high}. Run:\n  pip install --no-deps '
                f'--no-build-isolation {_CONSTRAINTS} {package}'
            )
    try:
        import_module('torch')  # the ops link against torch's libraries, which must be loaded first
        import_module('mmcv._ext')
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == 'mmcv._ext'
        reason = 'it was installed without them' if missing else f'they do not load with this torch ({error})'
        raise UserError(
            f'mmcv has no compiled ops: {reason}. With torch and a C++ compiler installed, run:\n  {REBUILD_OPS}'
        ) from error


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
    """Let mmengine read yaml as data: its own handler builds any Python object that a file names, and so runs any
    code.
    """
    import mmengine.fileio

    from mmfusion.fileio.yaml_handler import PlainYamlHandler

    mmengine.fileio.register_handler(['yaml', 'yml'])(PlainYamlHandler)


# Private names of other packages. A new release of one of them is checked here.

#: What mmengine's runner builds when training or testing begins, and not with the runner.
BUILT_LATER = (
    'build_dataloader',
    'build_evaluator',
    'build_optim_wrapper',
    'build_param_scheduler',
    'build_test_loop',
    'build_train_loop',
    'build_val_loop',
    '_init_model_weights',
)


def starts_from_checkpoint(runner: Any) -> bool:
    """Whether a runner of mmengine will load a checkpoint, or go on from one, before it begins."""
    return bool(runner._load_from or runner._resume)


def decide_val_interval(loop: Any) -> None:
    """Bring ``val_interval`` of a training loop of mmengine up to date with its ``dynamic_intervals``."""
    if hasattr(loop, '_decide_current_val_interval'):
        loop._decide_current_val_interval()


def count_elapsed(timer: Any, seconds: float) -> None:
    """Let mmengine's ``IterTimerHook`` count seconds that belong to no iteration, and measure the next one from now."""
    timer.time_sec_tot += seconds
    timer.t = time.time()


def clip_gradients(optim_wrapper: Any) -> None:
    """Clip the gradients of an optimizer wrapper of mmengine as it would before its step."""
    optim_wrapper._clip_grad()


def loss_scale_update(optim_wrapper: Any) -> Any:
    """What mmengine's ``AmpOptimWrapper`` hands to the update of its loss scale: a fixed scale, or None for a dynamic
    one.
    """
    return optim_wrapper._scale_update_param


def lay_out_configs_once() -> None:
    """Let mmengine lay out the text of a config once a run: it does so five times, at up to two seconds each."""
    from mmengine.config import Config

    if hasattr(Config.pretty_text, 'remembered'):
        return

    lay_out = Config.pretty_text.fget
    if hasattr(lay_out, 'texts'):
        return
    texts = {}

    def pretty_text(config: Config) -> str:
        content = repr(config.to_dict())
        if content not in texts:
            texts.clear()  # the one of this run is enough
            texts[content] = lay_out(config)
        return texts[content]

    pretty_text.texts = texts
    Config.pretty_text = property(pretty_text)


def end_pools_of_mean_ap() -> None:
    """Let the processes of mmdet's mean AP end with it.

    It closes their pool and forgets it. A pool that is collected while its threads run may wait for itself for ever;
    its processes stay then, with every file and pipe that was open.
    """
    mean_ap = import_module('mmdet.evaluation.functional.mean_ap')
    if mean_ap.Pool is not multiprocessing.Pool:
        return

    def ending_pool(*args: Any, **kwargs: Any) -> Any:
        pool = multiprocessing.Pool(*args, **kwargs)
        close = pool.close

        def close_and_end() -> None:
            close()
            pool.join()
            pool.terminate()  # nothing is left to do when it is collected

        pool.close = close_and_end
        return pool

    mean_ap.Pool = ending_pool


def replace_loaders(load: Callable, load_url: Callable) -> None:
    """Let mmengine load files by ``load(file, map_location, weights_only)`` and downloads by ``load_url(url, ...)``."""
    from mmengine.runner import checkpoint

    checkpoint._safe_torch_load, checkpoint.load_url = load, load_url


def is_batch_norm(module: Any) -> bool:
    """Whether a module is a batch norm of any number of dimensions."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return isinstance(module, _BatchNorm)


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


def compiler_error() -> type:
    """What torch's compiler raises."""
    from torch._dynamo.exc import TorchDynamoException

    return TorchDynamoException


def inside_functorch() -> bool:
    """Whether a transformation of torch.func (grad, vmap...) is running."""
    import torch

    return torch._C._functorch.peek_interpreter_stack() is not None


def traced() -> bool:
    """Whether torch.compile, torch.jit or torch.func looks at the code, where gradients of our own are out of place."""
    import torch

    return torch.compiler.is_compiling() or torch.jit.is_tracing() or inside_functorch()


def exporting() -> bool:
    """Whether torch.export records a graph, which has to hold for images of any size and batches of any length."""
    import torch

    return torch.compiler.is_exporting()


def scan(function: Callable, carry: Any, inputs: Any) -> Any:
    """``function`` of what it carried on and of each slice of the inputs along their first axis, as one node of a graph
    that torch.export records.
    """
    from torch._higher_order_ops.scan import scan as torch_scan

    return torch_scan(function, carry, inputs)


@contextmanager
def without_init_listing(module: Any) -> Iterator[None]:
    """Leave out mmengine's listing of how each parameter was initialized, three lines each on the screen where no log
    file is open.
    """
    module._dump_init_info = lambda: None
    try:
        yield
    finally:
        del module._dump_init_info


@contextmanager
def without_provenance() -> Iterator[None]:
    """Context in which torch.fx does not copy, for each node of a graph, where all nodes before it came from; an export
    takes a third of the time.
    """
    from torch.fx.traceback import NodeSource

    NodeSource.__deepcopy__ = lambda self, _: self  # nothing changes one that is there
    try:
        yield
    finally:
        del NodeSource.__deepcopy__


def fused_convolution() -> Optional[Callable]:
    """oneDNN's convolution with an activation behind it, which torch.compile uses on a CPU; None where this build of
    torch has none.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, '_convolution_pointwise', None)


def added_convolution() -> Optional[Callable]:
    """oneDNN's convolution that adds to a tensor in its place; None where this build of torch has none."""
    import torch

    if fused_convolution() is None:
        return None
    return getattr(getattr(torch.ops.mkldnn, '_convolution_pointwise_', None), 'binary', None)
