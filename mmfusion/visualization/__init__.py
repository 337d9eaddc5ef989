"""Fused images as pictures: boxes, panels, several sources side by side."""

from mmfusion.moved import moved_names

from .drawing import draw_boxes, make_panel
from .fusion_visualizer import FusionVisualizer
from .geometry import undo_resize
from .sample_view import SampleView, to_picture, view_sample

__all__ = ['FusionVisualizer', 'SampleView', 'draw_boxes', 'make_panel', 'to_picture', 'undo_resize', 'view_sample']
__getattr__ = moved_names(__name__, dict.fromkeys(('FileNames', 'write_image'), 'mmfusion.fileio.image_writing'))
