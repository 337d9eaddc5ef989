"""Fusion metrics as pure functions: batches of gray levels 0..255 in, one float64 value per image out, on the device of
the inputs.
"""

from mmfusion.moved import moved_names

from .activity_ratio import activity_ratio
from .average_gradient import average_gradient
from .chen_blum import chen_blum
from .chen_varshney import chen_varshney
from .common.grey import to_grey, to_uint8
from .common.per_source import PerSource
from .correlation import correlation, sum_of_correlations_of_differences
from .cross_entropy import cross_entropy
from .edge_intensity import edge_intensity
from .entropy import entropy
from .feature_correlation import feature_correlation
from .feature_mutual_information import feature_mutual_information
from .local_similarity import local_similarity
from .mef_ssim import mef_ssim
from .ms_ssim import ms_ssim
from .mutual_information import mutual_information
from .nonlinear_correlation import nonlinear_correlation_entropy
from .normalized_mutual_information import normalized_mutual_information
from .petrovic import petrovic
from .piella import edge_weighted_quality, piella_quality
from .qabf import gradient_preservation, qabf
from .spatial_frequency import spatial_frequency
from .squared_error import mean_squared_error, peak_signal_to_noise_ratio, root_mean_squared_error
from .ssim import ssim
from .standard_deviation import standard_deviation
from .tsallis import tsallis_information
from .vif import vif
from .viff import viff
from .wavelet_preservation import wavelet_preservation

__all__ = [
    'PerSource',
    'activity_ratio',
    'average_gradient',
    'chen_blum',
    'chen_varshney',
    'correlation',
    'cross_entropy',
    'edge_intensity',
    'edge_weighted_quality',
    'entropy',
    'feature_correlation',
    'feature_mutual_information',
    'gradient_preservation',
    'local_similarity',
    'mean_squared_error',
    'mef_ssim',
    'ms_ssim',
    'mutual_information',
    'nonlinear_correlation_entropy',
    'normalized_mutual_information',
    'peak_signal_to_noise_ratio',
    'petrovic',
    'piella_quality',
    'qabf',
    'root_mean_squared_error',
    'spatial_frequency',
    'ssim',
    'standard_deviation',
    'sum_of_correlations_of_differences',
    'to_grey',
    'to_uint8',
    'tsallis_information',
    'vif',
    'viff',
    'wavelet_preservation',
]
__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        (
            'PROTOCOLS',
            'MetricSpec',
            'Protocol',
            'evaluate_metric',
            'evaluate_metrics',
            'expand_names',
            'get_metric',
            'get_protocol',
            'prepare_images',
        ),
        'mmfusion.evaluation.protocols',
    ),
)
