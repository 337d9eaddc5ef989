"""Fused images as pictures: files, boxes, panels."""
from .drawing import draw_boxes, make_panel
from .fusion_visualizer import FusionVisualizer
from .geometry import undo_resize
from .image_file import FileNames, write_image
from .sample_view import SampleView, to_picture, view_sample

__all__ = ['FileNames', 'FusionVisualizer', 'SampleView', 'draw_boxes', 'make_panel', 'to_picture', 'undo_resize', 'view_sample', 'write_image']
