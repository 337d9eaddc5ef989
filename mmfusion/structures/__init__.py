"""Data elements that travel between data sets, models and metrics."""
from .fusion_data_sample import TASK_KEY, FusionDataSample, fusion_task

__all__ = ['TASK_KEY', 'FusionDataSample', 'fusion_task']
