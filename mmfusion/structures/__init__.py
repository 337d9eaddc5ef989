"""Data elements that travel between data sets, models and metrics."""

from .fusion_data_sample import MAP_FIELDS, TASK_KEY, FusionDataSample, fusion_task

__all__ = ['MAP_FIELDS', 'TASK_KEY', 'FusionDataSample', 'fusion_task']
