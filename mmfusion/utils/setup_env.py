"""Registering every module of mmfusion, mmdet and mmseg, so that configs can name them."""

import contextlib
import io
import pkgutil
import warnings
from importlib import import_module

from .compat import check_mmcv_ops, scope_names

_SUBPACKAGES = ('datasets', 'models', 'engine', 'evaluation', 'visualization', 'apis')


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import everything that registers itself: mmfusion, mmdet and mmseg; types of the latter are written ``mmdet.X``,
    ``mmseg.X``.

    Args:
        init_default_scope: Make ``mmfusion`` the scope in which types without a prefix are looked up.

    Raises:
        UserError: mmdet, mmseg or mmcv is missing, too old, or mmcv has no compiled ops.
    """
    check_mmcv_ops()
    with _without_optional_package_notes():
        from mmdet.utils import register_all_modules as register_mmdet
        from mmseg.utils import register_all_modules as register_mmseg

        register_mmdet(init_default_scope=False)
        register_mmseg(init_default_scope=False)
    import torch

    from .checkpoint import load_mmengine_safely, safe_globals
    from .compat import end_pools_of_mean_ap, lay_out_configs_once, read_yaml_as_data

    torch.serialization.add_safe_globals(
        safe_globals()
    )  # mmengine resumes with weights_only=True and knows fewer dtypes
    load_mmengine_safely()
    read_yaml_as_data()
    lay_out_configs_once()
    end_pools_of_mean_ap()
    root = import_module('mmfusion')
    present = {module.name for module in pkgutil.iter_modules(root.__path__)}
    for name in _SUBPACKAGES:
        if name in present:
            import_module(f'mmfusion.{name}')
    # apart, since scoring folders and reading pairs need no mmdet
    import_module('mmfusion.evaluation.metrics.coco_metric')  # takes the place of mmdet's
    import_module('mmfusion.datasets.transforms.reduced_resize')
    if init_default_scope:
        set_default_scope()


def set_default_scope(name: str = 'mmfusion') -> None:
    """Make ``name`` the current default scope of the registries; harmless when it is already."""
    from mmengine.registry import DefaultScope

    current = DefaultScope.get_current_instance()
    if current is not None and current.scope_name == name:
        return
    count = sum(1 for key in scope_names() if key == name or key.startswith(f'{name}-'))
    # the newest instance is the current one, and an instance name can be used only once
    DefaultScope.get_instance(f'{name}-{count}' if count else name, scope_name=name)


@contextlib.contextmanager
def _without_optional_package_notes():
    """Leave out what mmdet and mmseg print about optional packages that mmfusion does not use; everything else is
    shown.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
        yield
    for line in printed.getvalue().splitlines():
        if not line.startswith('Could not import OneDL'):
            print(line)
