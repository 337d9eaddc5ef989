"""Metrics of structural similarity and visual information."""
from functools import partial
from typing import Dict

from ..ssim import UNIFORM, WINDOW, ssim
from .spec import MetricSpec

WRONG_L = ('SSIM here takes grey levels 0..255 for images with a range of {}: its constants vanish, and noise in flat regions weighs as much as '
           'structure. Do not compare with SSIM of L = 255.')

CDDFUSE_SSIM = MetricSpec(
    partial(ssim, data_range=2., window='uniform', reduction='sum'), 'structural similarity with L = 2, sum over sources', needs_sources=True,
    min_size=UNIFORM, caution=WRONG_L.format(2))
FILM_SSIM = MetricSpec(
    partial(ssim, window='uniform', reduction='sum'), 'structural similarity in 7x7 windows, sum over sources', needs_sources=True, min_size=UNIFORM)

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'SSIM': MetricSpec(ssim, 'structural similarity, mean over sources', needs_sources=True, min_size=WINDOW),
    },
    'cddfuse': {
        'SSIM': CDDFUSE_SSIM,
    },
    'film': {
        'SSIM': FILM_SSIM,
    },
    'tang': {
        'SSIM': MetricSpec(
            partial(ssim, data_range=1., border='replicate'), 'structural similarity with L = 1, mean over sources', needs_sources=True,
            caution=WRONG_L.format(1)),
    },
    'tang_uint8': {
        'SSIM': MetricSpec(
            partial(ssim, border='replicate'), 'structural similarity of the 8-bit images, mean over sources', needs_sources=True,
            caution="The column 'SSIM' of this program's published tables is MEF_SSIM; this is its later ssim.m on 8-bit images."),
    },
    'tang_py': {
        'SSIM': MetricSpec(
            partial(ssim, data_range=1., reduction='sum'), 'structural similarity with L = 1, sum over sources', needs_sources=True, min_size=WINDOW,
            caution=WRONG_L.format(1)),
    },
    'vifb': {
        'SSIM': MetricSpec(partial(ssim, reduction='sum'), 'structural similarity, sum over sources', needs_sources=True, min_size=WINDOW),
    },
}
