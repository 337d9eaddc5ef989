"""Data elements that travel between data sets, models and metrics."""

from .fusion_data_sample import MAP_FIELDS, TASK_KEY, FusionDataSample, fusion_task
from .valid_window import Window, valid_window

__all__ = ['MAP_FIELDS', 'TASK_KEY', 'FusionDataSample', 'Window', 'fusion_task', 'valid_window']
