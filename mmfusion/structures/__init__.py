"""Data elements that travel between data sets, models and metrics."""
from .fusion_data_sample import FusionDataSample

__all__ = ['FusionDataSample']
