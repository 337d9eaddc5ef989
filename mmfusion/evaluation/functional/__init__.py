"""Fusion metrics as pure functions: batches of grey levels 0..255 in, one float64 value per image out, on the device of the inputs."""
from .average_gradient import average_gradient
from .entropy import entropy
from .grey import to_grey, to_uint8
from .mutual_information import mutual_information
from .per_source import PerSource
from .protocols import PROTOCOLS, MetricSpec, Protocol
from .spatial_frequency import spatial_frequency
from .ssim import ssim
from .standard_deviation import standard_deviation
from .table import evaluate_metric, evaluate_metrics, expand_names, get_metric, get_protocol, prepare_images

__all__ = [
    'PROTOCOLS', 'MetricSpec', 'PerSource', 'Protocol', 'average_gradient', 'entropy', 'evaluate_metric', 'evaluate_metrics', 'expand_names',
    'get_metric', 'get_protocol', 'mutual_information', 'prepare_images', 'spatial_frequency', 'ssim', 'standard_deviation', 'to_grey', 'to_uint8'
]
