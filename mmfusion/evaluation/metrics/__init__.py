"""mmengine metrics on top of the pure functions."""

from .fusion_metric import FusionMetric
from .sample_facts import SampleFacts
from .seg_iou_metric import SegIoUMetric

__all__ = ['FusionMetric', 'SampleFacts', 'SegIoUMetric']
