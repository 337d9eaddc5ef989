"""Running exported files with numpy and onnxruntime alone: nothing here needs torch, mmengine or mmcv."""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'GraphInfo': 'metadata',
    'RuntimeModel': 'model',
    'RuntimeResult': 'model',
    'run_pairs': 'folders',
    'run_streams': 'video',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
