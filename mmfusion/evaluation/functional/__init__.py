"""Fusion metrics as pure functions: batches of grey levels 0..255 in, one float64 value per image out, on the device of the inputs."""
from .average_gradient import average_gradient
from .chen_blum import chen_blum
from .chen_varshney import chen_varshney
from .entropy import entropy
from .grey import to_grey, to_uint8
from .local_similarity import local_similarity
from .mutual_information import mutual_information
from .per_source import PerSource
from .piella import edge_weighted_quality, piella_quality
from .protocols import PROTOCOLS, MetricSpec, Protocol
from .spatial_frequency import spatial_frequency
from .ssim import ssim
from .standard_deviation import standard_deviation
from .table import evaluate_metric, evaluate_metrics, expand_names, get_metric, get_protocol, prepare_images

__all__ = [
    'PROTOCOLS', 'MetricSpec', 'PerSource', 'Protocol', 'average_gradient', 'chen_blum', 'chen_varshney', 'edge_weighted_quality', 'entropy',
    'evaluate_metric', 'evaluate_metrics', 'expand_names', 'get_metric', 'get_protocol', 'local_similarity', 'mutual_information',
    'piella_quality', 'prepare_images', 'spatial_frequency', 'ssim', 'standard_deviation', 'to_grey', 'to_uint8'
]
