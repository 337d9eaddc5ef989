"""Quality of fused images: pure metric functions, protocols, and the mmengine metrics that run them."""
from .metrics import FusionMetric

__all__ = ['FusionMetric']
