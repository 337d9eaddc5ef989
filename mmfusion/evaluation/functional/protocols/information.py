"""Metrics of grey levels: entropy, contrast, activity, information, correlation, error."""
from typing import Dict

from ..average_gradient import average_gradient
from ..entropy import entropy
from ..mutual_information import mutual_information
from ..spatial_frequency import spatial_frequency
from ..standard_deviation import standard_deviation
from .spec import MetricSpec

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'EN': MetricSpec(entropy, 'entropy', 'bit'),
        'SD': MetricSpec(standard_deviation, 'standard deviation', 'grey level'),
        'SF': MetricSpec(spatial_frequency, 'spatial frequency', 'grey level', min_size=2),
        'AG': MetricSpec(average_gradient, 'average gradient', 'grey level', min_size=2),
        'MI': MetricSpec(mutual_information, 'mutual information, sum over sources', 'bit', needs_sources=True),
    },
}
