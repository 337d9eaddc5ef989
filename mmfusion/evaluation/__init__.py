"""How good a fused image is: pure metric functions and the mmengine metrics that run them."""
from .metrics import FusionMetric

__all__ = ['FusionMetric']
