"""mmfusion: image fusion coupled with mmdet detectors and mmseg segmentors.

Importing the package loads nothing heavy; call :func:`mmfusion.utils.register_all_modules` before building from a
config.
"""

from . import moved
from .version import __version__, version_info

moved.install()

__all__ = ['__version__', 'version_info']
