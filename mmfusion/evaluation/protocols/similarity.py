"""Metrics of structural similarity and visual information."""

import math
from functools import partial
from typing import Dict

from ..functional.common.visual_information import MIN_SIZE as VIF_SIZE
from ..functional.mef_ssim import mef_ssim, min_size
from ..functional.ms_ssim import MIN_SIZE as MS_SSIM_SIZE
from ..functional.ms_ssim import ms_ssim
from ..functional.ssim import UNIFORM, WINDOW, ssim
from ..functional.vif import vif
from ..functional.viff import viff
from .spec import MetricSpec

WRONG_L = (
    'SSIM here takes gray levels 0..255 for images with a range of {}: its constants vanish, and noise in flat regions '
    'weighs as much as structure. Do not compare with SSIM of L = 255.'
)
SATURATED_VIF = (
    'VIF here clips the products of gray levels at 255 at its finest scale, as the old program did by accident; '
    'it ranks methods differently. Do not compare with other VIF.'
)


VIF = MetricSpec(
    vif, 'visual information fidelity in the pixel domain, sum over sources', needs_sources=True, min_size=VIF_SIZE
)
CDDFUSE_VIF = VIF._replace(title=VIF.title + " (printed as 'VIFF')")
TANG_VIF = VIF._replace(function=partial(vif, undefined=math.nan))
VIFF = MetricSpec(viff, 'visual information fidelity for fusion (Han)', needs_sources=True, min_size=VIF_SIZE)

MEF_SSIM = MetricSpec(
    mef_ssim,
    'structural similarity to the mixed structure of both sources (Ma)',
    needs_sources=True,
    min_size=min_size(1),
    whole_colour=True,
)
MEF_SSIM_3 = MetricSpec(
    partial(mef_ssim, scales=3),
    'MEF-SSIM at three scales',
    needs_sources=True,
    min_size=min_size(3),
    whole_colour=True,
    caution='MS_SSIM here is MEF_SSIM at three scales. Do not compare with the MS-SSIM of Wang et al.',
)

CDDFUSE_SSIM = MetricSpec(
    partial(ssim, data_range=2.0, window='uniform', reduction='sum'),
    'structural similarity with L = 2, sum over sources',
    needs_sources=True,
    min_size=UNIFORM,
    caution=WRONG_L.format(2),
)
FILM_SSIM = MetricSpec(
    partial(ssim, window='uniform', reduction='sum'),
    'structural similarity in 7x7 windows, sum over sources',
    needs_sources=True,
    min_size=UNIFORM,
)

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'VIF': VIF,
        'VIFF': VIFF,
        'SSIM': MetricSpec(ssim, 'structural similarity, mean over sources', needs_sources=True, min_size=WINDOW),
        'MS_SSIM': MetricSpec(
            ms_ssim,
            'structural similarity at five scales, mean over sources',
            needs_sources=True,
            min_size=MS_SSIM_SIZE,
        ),
        'MEF_SSIM': MEF_SSIM,
    },
    'cddfuse': {
        'VIF': CDDFUSE_VIF,
        'SSIM': CDDFUSE_SSIM,
    },
    'film': {
        'VIF': CDDFUSE_VIF,
        'SSIM': FILM_SSIM,
    },
    'tang': {
        'VIF': TANG_VIF,
        'SSIM': MetricSpec(
            partial(ssim, data_range=1.0, border='replicate'),
            'structural similarity with L = 1, mean over sources',
            needs_sources=True,
            caution=WRONG_L.format(1),
        ),
        'MS_SSIM': MEF_SSIM_3,
    },
    'tang_uint8': {
        'VIF': MetricSpec(
            partial(vif, saturate=True, undefined=math.nan),
            'visual information fidelity in saturating 8-bit arithmetic, sum over sources',
            needs_sources=True,
            min_size=VIF_SIZE,
            caution=SATURATED_VIF,
        ),
        'SSIM': MetricSpec(
            partial(ssim, border='replicate'),
            'structural similarity of the 8-bit images, mean over sources',
            needs_sources=True,
            caution="The column 'SSIM' of this program's published tables is MEF_SSIM; "
            'this is its later ssim.m on 8-bit images.',
        ),
        'MS_SSIM': MEF_SSIM_3,
        'MEF_SSIM': MEF_SSIM._replace(title=MEF_SSIM.title + " (printed as 'SSIM')"),
    },
    'tang_py': {
        'VIF': TANG_VIF,
        'SSIM': MetricSpec(
            partial(ssim, data_range=1.0, reduction='sum'),
            'structural similarity with L = 1, sum over sources',
            needs_sources=True,
            min_size=WINDOW,
            caution=WRONG_L.format(1),
        ),
        'MS_SSIM': MetricSpec(
            partial(ms_ssim, data_range=1.0, odd='zero', reduction='sum'),
            'structural similarity at five scales with L = 1, sum over sources',
            needs_sources=True,
            min_size=MS_SSIM_SIZE,
            caution=WRONG_L.format(1).replace('SSIM', 'MS_SSIM'),
        ),
    },
    'vifb': {
        'SSIM': MetricSpec(
            partial(ssim, reduction='sum'),
            'structural similarity, sum over sources',
            needs_sources=True,
            min_size=WINDOW,
        ),
    },
    'mefb': {
        'VIFF': VIFF._replace(title=VIFF.title + " (printed as 'VIF')"),
        'MS_SSIM': MEF_SSIM_3,
        'MEF_SSIM': MEF_SSIM,
    },
}
