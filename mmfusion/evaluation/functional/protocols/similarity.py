"""Metrics of structural similarity and visual information."""
from typing import Dict

from ..ssim import WINDOW, ssim
from .spec import MetricSpec

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'SSIM': MetricSpec(ssim, 'structural similarity, mean over sources', needs_sources=True, min_size=WINDOW),
    },
}
