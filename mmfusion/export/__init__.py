"""Export of trained models to files that run without torch."""

from mmfusion.utils.lazy import lazy_names

_LAZY = {'ExportReport': 'exporting', 'export_model': 'exporting'}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
