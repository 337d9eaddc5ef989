"""Procedural scenes seen by a visible and an infrared camera, by one with two exposures, or by one with two planes in
focus.
"""

from .cameras import ExposurePair, FocusPair, render_exposures, render_focus
from .render import RenderedPair, render_pair
from .scene import CLASSES, Scene, draw_scene

__all__ = [
    'CLASSES',
    'ExposurePair',
    'FocusPair',
    'RenderedPair',
    'Scene',
    'draw_scene',
    'render_exposures',
    'render_focus',
    'render_pair',
]
