"""Metrics of edge transfer and local features."""

from functools import partial
from typing import Callable, Dict

from ..functional.activity_ratio import MIN_SIZE as PAIR
from ..functional.activity_ratio import activity_ratio
from ..functional.feature_correlation import WINDOW as FEATURE_WINDOW
from ..functional.feature_correlation import feature_correlation
from ..functional.feature_mutual_information import WINDOW as FMI_WINDOW
from ..functional.feature_mutual_information import feature_mutual_information
from ..functional.petrovic import misordered, petrovic
from ..functional.qabf import MIN_SIZE as SOBEL
from ..functional.qabf import gradient_preservation, qabf
from ..functional.wavelet_preservation import MIN_SIZE as TWO_LEVELS
from ..functional.wavelet_preservation import wavelet_preservation
from .spec import MetricSpec

UNIT_RANGE = (
    'On images in [0, 1], where the rounding errors of equal pixels count as edges: reproduced to the last digits of '
    'GNU Octave, but MATLAB itself rounds otherwise, and Qabf of published tables differs by up to 2 %.'
)
RIGHT_ORDER = (
    'The program since March 2023 confuses the order of its images and prints the number that is called '
    'Nabf_misordered here.'
)
MISORDERED = (
    'Not a property of the fused image: it rates the infrared image as a fusion of the visible and the fused one. '
    'Only there to explain published tables.'
)

QABF = MetricSpec(qabf, 'edge transfer (Hong), weighted by edge strength', needs_sources=True, min_size=SOBEL)
FLAT_IS_PERFECT = 'A fused image without any feature (flat or very smooth) scores about 1.'
NOT_EDGES = "Not the FMI or FMI_pixel of papers, which is the mutual information of MATLAB's edge maps."


def _petrovic(function: Callable, caution: str = '') -> Dict[str, MetricSpec]:
    spec = MetricSpec(function, '', needs_sources=True, min_size=SOBEL, caution=caution)
    return {
        'Qabf_P': spec._replace(title='edges kept (Petrovic)', field='kept'),
        'Labf': spec._replace(title='edges lost (Petrovic)', field='lost', higher_is_better=False),
        'Nabf': spec._replace(
            title='edges invented: artifacts (Petrovic, Kumar)', field='invented', higher_is_better=False
        ),
    }


def _liu(symmetric: bool) -> Dict[str, MetricSpec]:
    return {
        'QG': MetricSpec(
            partial(gradient_preservation, symmetric=symmetric),
            'edge transfer (Xydeas), mean over pixels',
            needs_sources=True,
            min_size=SOBEL,
        ),
        'QM': MetricSpec(wavelet_preservation, 'wavelet details kept (Wang)', needs_sources=True, min_size=TWO_LEVELS),
        'QSF': MetricSpec(
            activity_ratio,
            'spatial frequency missing (below 0) or in excess of the sources (Zheng)',
            optimum=0.0,
            needs_sources=True,
            min_size=PAIR,
        ),
        'QP': QP,
    }


def _fmi(feature: str, title: str) -> MetricSpec:
    return MetricSpec(
        partial(feature_mutual_information, feature=feature),
        f'feature mutual information of {title}',
        needs_sources=True,
        min_size=FMI_WINDOW,
        slow=True,
        caution=NOT_EDGES,
    )


# 72 Fourier transforms of the whole pair are needed, which alone take more than 100 ms, and 24 for another fused image
# of the same pair. In float32 all of it takes 0.6 of the time, but pixels at the threshold of the features turn: QP
# moves by up to 2e-5 on real pairs and 4e-4 on drawn ones, so the digits of the programs would be lost.
QP = MetricSpec(
    feature_correlation,
    'features found again by phase congruency (Zhao)',
    needs_sources=True,
    min_size=FEATURE_WINDOW,
    slow=True,
    caution=FLAT_IS_PERFECT,
)
INVENTED = _petrovic(petrovic)['Nabf']

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'Qabf': QABF,
        **_petrovic(petrovic),
        **_liu(symmetric=True),
        'FMI': _fmi('none', 'gray levels'),
        'FMI_gradient': _fmi('gradient', 'horizontal gradients'),
        'FMI_dct': _fmi('dct', 'cosine coefficients'),
    },
    'cddfuse': {
        'Qabf': QABF,
    },
    'film': {
        'Qabf': QABF,
    },
    'tang': {
        'Qabf': QABF,
        'Nabf': INVENTED._replace(caution=RIGHT_ORDER),
        'Nabf_misordered': INVENTED._replace(
            function=misordered,
            title='Nabf of the infrared image as a fusion of the other two',
            on_request=True,
            caution=MISORDERED,
        ),
    },
    'tang_uint8': {
        'Qabf': QABF._replace(function=partial(qabf, data_range=1.0), caution=UNIT_RANGE),
        'Nabf': INVENTED._replace(function=partial(petrovic, data_range=1.0), caution=UNIT_RANGE),
    },
    'tang_py': {
        'Qabf': QABF,
        'Nabf': INVENTED._replace(function=partial(petrovic, weak_weight=0.0)),
    },
    'vifb': {
        'Qabf': QABF,
    },
    'mefb': {
        'Qabf': QABF,
        'QP': QP,
    },
    'liu2012': _liu(symmetric=False),
}
