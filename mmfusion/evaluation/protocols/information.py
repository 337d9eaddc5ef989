"""Metrics of gray levels: entropy, contrast, activity, information, correlation, error."""

import math
from functools import partial
from typing import Dict

from ..functional.average_gradient import average_gradient
from ..functional.correlation import correlation, sum_of_correlations_of_differences
from ..functional.cross_entropy import cross_entropy
from ..functional.edge_intensity import edge_intensity
from ..functional.entropy import entropy
from ..functional.mutual_information import mutual_information
from ..functional.nonlinear_correlation import nonlinear_correlation_entropy
from ..functional.normalized_mutual_information import normalized_mutual_information
from ..functional.spatial_frequency import spatial_frequency
from ..functional.squared_error import mean_squared_error, peak_signal_to_noise_ratio, root_mean_squared_error
from ..functional.standard_deviation import standard_deviation
from ..functional.tsallis import CVEJIC, tsallis_information
from .spec import MetricSpec

GREY = 'gray level'
NAN = math.nan  # what the programs print for 0/0

EN = MetricSpec(entropy, 'entropy', 'bit')
SD = MetricSpec(standard_deviation, 'standard deviation', GREY)
SF = MetricSpec(spatial_frequency, 'spatial frequency', GREY, min_size=2)
SF_PIXELS = MetricSpec(
    partial(spatial_frequency, divisor='pixels'), 'spatial frequency, sums divided by HW', GREY, min_size=2
)
AG = MetricSpec(average_gradient, 'average gradient', GREY, min_size=2)
AG_INNER = MetricSpec(
    partial(average_gradient, divisor='inner'), 'average gradient, sum divided by (H-1)(W-1)', GREY, min_size=2
)
EI = MetricSpec(edge_intensity, 'edge intensity, mean Sobel magnitude', min_size=2)
MI = MetricSpec(mutual_information, 'mutual information, sum over sources', 'bit', needs_sources=True)
MI_NATS = MetricSpec(
    partial(mutual_information, base=math.e), 'mutual information, sum over sources', 'nat', needs_sources=True
)
MI_MERGED = MetricSpec(
    partial(mutual_information, merge_top=True),
    'mutual information, sum over sources, 254 and 255 merged in the joint histogram',
    'bit',
    needs_sources=True,
    caution='MI here counts 254 and 255 as one level in the joint histogram and is too high where images saturate.',
)
QMI = MetricSpec(
    normalized_mutual_information, 'normalized mutual information (NMI), sum over sources', needs_sources=True
)
QNCIE = MetricSpec(
    nonlinear_correlation_entropy,
    'nonlinear correlation information entropy; per source the coefficient NCC',
    needs_sources=True,
)
QTE = MetricSpec(
    tsallis_information,
    'information by Tsallis entropy, q = 0.43137, as the papers define it',
    needs_sources=True,
    caution='QTE here follows the formula; the programs in use deviate from it and print values 10 to 30 times as '
    'high (protocol liu2012).',
)
CE = MetricSpec(
    cross_entropy,
    'cross entropy of the histograms, mean over sources',
    'bit',
    higher_is_better=False,
    needs_sources=True,
    caution='CE leaves out gray levels that only one of the two images has: it can be negative.',
)
CC = MetricSpec(correlation, 'correlation coefficient, mean over sources', needs_sources=True)
SCD = MetricSpec(sum_of_correlations_of_differences, 'sum of the correlations of differences', needs_sources=True)
MSE = MetricSpec(
    mean_squared_error,
    'mean squared error, mean over sources',
    'squared gray level',
    higher_is_better=False,
    needs_sources=True,
)
RMSE = MetricSpec(
    root_mean_squared_error,
    'root mean squared error, mean over sources',
    GREY,
    higher_is_better=False,
    needs_sources=True,
)
PSNR = MetricSpec(peak_signal_to_noise_ratio, 'peak signal-to-noise ratio of the MSE', 'dB', needs_sources=True)

# the programs give NaN where the default gives 0
CC_PROGRAM = CC._replace(function=partial(correlation, undefined=NAN))
SCD_PROGRAM = SCD._replace(function=partial(sum_of_correlations_of_differences, undefined=NAN))
QMI_PROGRAM = QMI._replace(function=partial(normalized_mutual_information, undefined=NAN))

CDDFUSE = {
    'EN': EN,
    'SD': SD,
    'SF': SF,
    'AG': AG,
    'MI': MI_NATS,
    'MSE': MSE,
    'CC': CC_PROGRAM,
    'PSNR': PSNR._replace(
        function=partial(peak_signal_to_noise_ratio, peak=None),
        title='peak signal-to-noise ratio, peak = brightest pixel of the fused image',
    ),
    'SCD': SCD_PROGRAM,
}
TANG = {
    'EN': EN,
    'SD': SD,
    'SF': SF,
    'AG': AG_INNER,
    'MI': MI_MERGED,
    'MSE': MSE._replace(
        function=partial(mean_squared_error, white=1.0),
        title='mean squared error on [0, 1], mean over sources',
        unit='',
    ),
    'CC': CC_PROGRAM,
    'PSNR': PSNR._replace(
        function=partial(peak_signal_to_noise_ratio, white=1.0),
        title='255 over the MSE on [0, 1], in decibel',
        caution='PSNR here puts a peak of 255 over an error on [0, 1]: 48.13 dB too high.',
    ),
    'SCD': SCD_PROGRAM,
}
BENCHMARK = {  # what VIFB and MEFB share
    'CE': CE,
    'EN': EN,
    'PSNR': PSNR._replace(
        function=partial(peak_signal_to_noise_ratio, error='root_sum'),
        title='255 squared over this RMSE, in decibel',
        caution='PSNR here is made of a root of summed squares over HW, not of the MSE: about 40 dB too high, '
        'more for larger images.',
    ),
    'AG': AG_INNER,
    'EI': EI,
    'SD': SD,
    'SF': SF_PIXELS,
}

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'EN': EN,
        'SD': SD,
        'SF': SF,
        'AG': AG,
        'EI': EI,
        'MI': MI,
        'QMI': QMI,
        'QNCIE': QNCIE,
        'QTE': QTE,
        'CE': CE,
        'CC': CC,
        'SCD': SCD,
        'MSE': MSE,
        'RMSE': RMSE,
        'PSNR': PSNR,
    },
    'cddfuse': CDDFUSE,
    'film': CDDFUSE,
    'tang': TANG,
    'tang_uint8': {
        **TANG,
        'SD': SD._replace(
            function=partial(standard_deviation, saturate=True),
            title='standard deviation in saturating 8-bit arithmetic',
            caution='SD here saturates at 15.97: it does not measure contrast.',
        ),
        'SF': SF._replace(
            function=partial(spatial_frequency, white=1.0), title='spatial frequency of the image on [0, 1]', unit=''
        ),
    },
    'tang_py': {
        **TANG,
        'EN': EN._replace(function=partial(entropy, offset=1e-7), title='entropy, 1e-7 added inside the logarithm'),
        'MI': MI,
    },
    'vifb': {
        **BENCHMARK,
        'MI': MI_NATS,
        'RMSE': RMSE._replace(
            function=partial(root_mean_squared_error, root='sum'),
            title='root of the summed squares over HW, mean over sources',
            unit='',
            caution='RMSE here divides the root of the sum by HW: it shrinks with the size of the image.',
        ),
        'SF': SF_PIXELS._replace(
            function=partial(spatial_frequency, divisor='pixels', fold_colour=True),
            title='spatial frequency, channels side by side, sums over HW',
            whole_colour=True,
        ),
    },
    'mefb': {
        **BENCHMARK,
        'QMI': QMI_PROGRAM,
        'QNCIE': QNCIE,
        'QTE': QTE._replace(
            function=partial(tsallis_information, q=CVEJIC, norm=None, transposed=True),
            title='information by Tsallis entropy (TE), q = 1.85',
            caution='QTE here has no bound and pairs the histograms in the wrong order: '
            'it depends on which numbers the gray levels carry.',
        ),
    },
    'liu2012': {
        'QMI': QMI_PROGRAM,
        'QNCIE': QNCIE,
        'QTE': QTE._replace(
            function=partial(tsallis_information, norm='shannon', transposed=True, undefined=NAN),
            title='information by Tsallis entropy, q = 0.43137',
            caution='QTE here pairs the histograms in the wrong order: it depends on which numbers the '
            'gray levels carry.',
        ),
    },
}
