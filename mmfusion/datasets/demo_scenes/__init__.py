"""Procedural scenes seen by a visible and an infrared camera."""
from .render import RenderedPair, render_pair
from .scene import CLASSES, Scene, draw_scene

__all__ = ['CLASSES', 'RenderedPair', 'Scene', 'draw_scene', 'render_pair']
