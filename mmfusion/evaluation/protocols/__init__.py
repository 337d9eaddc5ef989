"""Named protocols: which convention of each metric belongs to whose program, and the metrics by name."""

from .collection import ORDER, PROTOCOLS, TITLES
from .spec import MetricSpec, Protocol
from .table import evaluate_metric, evaluate_metrics, expand_names, get_metric, get_protocol, prepare_images

__all__ = [
    'ORDER',
    'PROTOCOLS',
    'TITLES',
    'MetricSpec',
    'Protocol',
    'evaluate_metric',
    'evaluate_metrics',
    'expand_names',
    'get_metric',
    'get_protocol',
    'prepare_images',
]
