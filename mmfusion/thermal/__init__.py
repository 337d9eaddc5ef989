"""Thermal images: from raw counts to degrees, windows of temperature, files of thermal cameras. Pure functions on
arrays.
"""

from .radiometry import LinearScale, PlanckScale, build_scale
from .window import ThermalFacts, apply_window, check_window, tone_map

__all__ = [
    'LinearScale',
    'PlanckScale',
    'ThermalFacts',
    'apply_window',
    'build_scale',
    'check_window',
    'tone_map',
]
