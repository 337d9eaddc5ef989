"""Python interface: fusing pictures, training, testing. Names are resolved on first use, so that the tools can check
the installation first.
"""

from mmfusion.utils.lazy import lazy_names

_LAZY = {
    'FusionInferencer': 'inferencer',
    'FusionResult': 'result',
    'build_coupling': 'build',
    'evaluate': 'runs',
    'test': 'runs',
    'train': 'runs',
}

__all__ = [*_LAZY]
__getattr__, __dir__ = lazy_names(globals(), _LAZY)
