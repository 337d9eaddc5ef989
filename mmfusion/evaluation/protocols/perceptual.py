"""Metrics with saliency and models of human vision."""

from functools import partial
from typing import Callable, Dict

from mmfusion.moved import moved_names

from ..functional.chen_blum import MIN_SIZE, chen_blum
from ..functional.chen_varshney import BLOCK, chen_varshney
from ..functional.local_similarity import WINDOW, local_similarity
from ..functional.piella import WINDOW as PIELLA_WINDOW
from ..functional.piella import edge_weighted_quality, piella_quality
from .spec import MetricSpec

__getattr__ = moved_names(__name__, {'NO_STABILISER': f'{__name__}:NO_STABILIZER'})  # former spelling

NO_STABILIZER = (
    'No constant stabilizes {} in flat windows. Where two images are flat (black or saturated regions, '
    'medical images), {}; the program itself prints rounding noise there, which may exceed 1.'
)
LIU_FLAT, MEFB_FLAT = 'the value is NaN', 'such windows are left out'
QC_AS_PRINTED = ' Windows against which one source runs score 0 or 1, depending on which source it is.'


def _piella(title: str, field: str) -> MetricSpec:
    return MetricSpec(piella_quality, title, needs_sources=True, min_size=PIELLA_WINDOW, field=field)


def _local(function: Callable, flat: str = '') -> Dict[str, MetricSpec]:
    """QY and QC of one function; ``flat`` says what the program makes of flat windows."""
    caution = (
        'The published programs have no rule for flat windows and print noise there; here two flat windows are alike. '
        'Compare with published values only under their protocol.'
    )
    cautions = {name: NO_STABILIZER.format(name, flat) if flat else caution for name in ('QY', 'QC')}
    cautions['QC'] += QC_AS_PRINTED if flat else ''
    titles = {
        'QY': ('similarity to the source with more contrast (Yang)', 'yang'),
        'QC': ('similarity to the source followed (Cvejic)', 'cvejic'),
    }
    return {
        name: MetricSpec(function, title, needs_sources=True, min_size=WINDOW, field=field, caution=cautions[name])
        for name, (title, field) in titles.items()
    }


def _vision(constant: str) -> Dict[str, MetricSpec]:
    return {
        'QCV': MetricSpec(
            partial(chen_varshney, constant=constant),
            'visible error in salient regions (Chen-Varshney)',
            'squared gray level',
            higher_is_better=False,
            needs_sources=True,
            min_size=BLOCK,
        ),
        'QCB': MetricSpec(
            partial(chen_blum, constant=constant),
            'preserved local contrast (Chen-Blum)',
            needs_sources=True,
            min_size=MIN_SIZE,
        ),
    }


QS = _piella('saliency-blended structural similarity (Piella)', 'quality')
QW = _piella('structural similarity weighted by saliency (Piella)', 'weighted')

ENTRIES: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'QS': QS,
        'QW': QW,
        'QE': _piella('QW times QW of the edges (Piella)', 'edge_dependent'),
        **_local(local_similarity),
        **_vision('zero'),
    },
    'vifb': _vision('nan'),
    'mefb': {
        'QW': MetricSpec(
            edge_weighted_quality,
            'Qw: structural similarity of the edges weighted by saliency',
            needs_sources=True,
            min_size=PIELLA_WINDOW,
            caution='Of the edge images alone: not QW of the other programs.',
        ),
        **_local(partial(local_similarity, undefined='drop', clamp_weight=False), MEFB_FLAT),
        **_vision('nan'),
    },
    'liu2012': {
        'QS': QS,
        'QW': QW,
        **_local(partial(local_similarity, undefined='nan', clamp_weight=False), LIU_FLAT),
        **_vision('nan'),
    },
}
