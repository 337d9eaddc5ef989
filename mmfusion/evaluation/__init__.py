"""Judging fused images: pure metric functions, named protocols, scoring of folders, and the mmengine metrics of a run.

Importing the package loads none of them; functions, protocols and folders need neither mmengine, mmcv, mmdet nor mmseg.
"""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'FusionMetric': 'metrics',
    'evaluate_metrics': 'protocols',
    'prepare_images': 'protocols',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
