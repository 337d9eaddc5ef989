"""mmengine metrics on top of the pure functions."""
from .fusion_metric import FusionMetric

__all__ = ['FusionMetric']
