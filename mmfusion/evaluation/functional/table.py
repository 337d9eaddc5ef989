"""The metrics by name: what a config may list, and what each number means.

Code bases in this field print different numbers under one name, so every value belongs to a named protocol and is stored with it.
A protocol is one table here; ``default`` is 8-bit grey (BT.601 luma, full range), float64, bits, SSIM 11/1.5 with L = 255, mean over images.
"""
from typing import Callable, Dict, NamedTuple

from torch import Tensor

from .average_gradient import average_gradient
from .entropy import entropy
from .mutual_information import mutual_information
from .per_source import PerSource
from .spatial_frequency import spatial_frequency
from .ssim import WINDOW, ssim
from .standard_deviation import standard_deviation


class MetricSpec(NamedTuple):
    """One metric of a protocol.

    Attributes:
        function: Called with (fused,) or (fused, first, second), batches (N, 1, H, W) of grey levels 0..255.
        title: Full name.
        unit: Unit of the value, empty for a ratio.
        higher_is_better: Direction.
        needs_sources: Whether the function takes the sources.
        min_size: Smallest height and width that the function accepts.
    """

    function: Callable
    title: str
    unit: str = ''
    higher_is_better: bool = True
    needs_sources: bool = False
    min_size: int = 1


PROTOCOLS: Dict[str, Dict[str, MetricSpec]] = {
    'default': {
        'EN': MetricSpec(entropy, 'entropy', 'bit'),
        'SD': MetricSpec(standard_deviation, 'standard deviation', 'grey level'),
        'SF': MetricSpec(spatial_frequency, 'spatial frequency', 'grey level', min_size=2),
        'AG': MetricSpec(average_gradient, 'average gradient', 'grey level', min_size=2),
        'MI': MetricSpec(mutual_information, 'mutual information, sum over sources', 'bit', needs_sources=True),
        'SSIM': MetricSpec(ssim, 'structural similarity, mean over sources', needs_sources=True, min_size=WINDOW),
    },
}


def get_metric(name: str, protocol: str = 'default') -> MetricSpec:
    """Look a metric up.

    Args:
        name: Short name such as ``'EN'``.
        protocol: Name of the protocol.

    Raises:
        KeyError: The protocol or the metric is unknown; the message lists what there is.

    Examples:
        >>> get_metric('SSIM').min_size
        11
    """
    if protocol not in PROTOCOLS:
        raise KeyError(f'unknown protocol {protocol!r}, there are {sorted(PROTOCOLS)}')
    if name not in PROTOCOLS[protocol]:
        raise KeyError(f'protocol {protocol!r} has no metric {name!r}, it has {list(PROTOCOLS[protocol])}')
    return PROTOCOLS[protocol][name]


def evaluate_metric(name: str, fused: Tensor, first: Tensor, second: Tensor, protocol: str = 'default') -> Dict[str, Tensor]:
    """Compute one metric by name.

    Args:
        name: Short name.
        fused: (N, 1, H, W) whole grey levels 0..255.
        first: First source, same shape.
        second: Second source, same shape.
        protocol: Name of the protocol.

    Returns:
        ``{name: (N,)}``, and ``{name}_first`` and ``{name}_second`` for a metric with a value per source.

    Raises:
        KeyError: The protocol or the metric is unknown.
    """
    spec = get_metric(name, protocol)
    value = spec.function(fused, first, second) if spec.needs_sources else spec.function(fused)
    if isinstance(value, PerSource):
        return {name: value.total, f'{name}_first': value.first, f'{name}_second': value.second}
    return {name: value}
