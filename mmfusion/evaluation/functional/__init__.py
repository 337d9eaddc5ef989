"""Fusion metrics as pure functions: batches of grey levels 0..255 in, one float64 value per image out, on the device of the inputs."""
from .average_gradient import average_gradient
from .entropy import entropy
from .grey import to_grey, to_uint8
from .mutual_information import mutual_information
from .per_source import PerSource
from .spatial_frequency import spatial_frequency
from .ssim import ssim
from .standard_deviation import standard_deviation
from .table import PROTOCOLS, MetricSpec, evaluate_metric, get_metric

__all__ = [
    'PROTOCOLS', 'MetricSpec', 'PerSource', 'average_gradient', 'entropy', 'evaluate_metric', 'get_metric', 'mutual_information', 'spatial_frequency',
    'ssim', 'standard_deviation', 'to_grey', 'to_uint8'
]
