"""Building models of other packages inside a coupling or a guide."""

import copy

import torch
from mmengine.model import revert_sync_batchnorm

from mmfusion.models.layers.silu import in_one_pass
from mmfusion.models.layers.strided_pointwise import avoid_strided_pointwise
from mmfusion.registry import MODELS
from mmfusion.utils.mmcv_precision import widen_mmcv_ops
from mmfusion.utils.scope import scoped


def build_scoped(cfg: dict) -> torch.nn.Module:
    """Build a model of another package so that its nested types need no prefix.

    Args:
        cfg: Model config whose ``type`` carries its scope, such as ``mmdet.RTMDet``; it is left as it is.

    Returns:
        The model, with a copy of ``cfg`` as its attribute ``built_from``.

    Raises:
        TypeError: ``cfg`` is not a dict with a ``type``.
    """
    if not isinstance(cfg, dict) or not isinstance(cfg.get('type'), (str, type)):
        raise TypeError(
            f"a task network or the detector of a guide is given by its config, dict(type='mmdet.RTMDet', "
            f'...), got {cfg!r}'
        )
    widen_mmcv_ops()
    model = in_one_pass(avoid_strided_pointwise(MODELS.build(scoped(cfg))))
    model.built_from = copy.deepcopy(dict(cfg))
    # Synchronized batch norm (RTMDet and many configs ask for it) exists on GPUs alone; elsewhere each process
    # normalizes its own images.
    return model if torch.cuda.is_available() else revert_sync_batchnorm(model)
