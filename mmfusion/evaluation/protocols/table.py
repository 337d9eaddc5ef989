"""Metrics by name: looking them up and evaluating them under a protocol.

Code bases in this field print different numbers under one name, so every value belongs to a named protocol and is
stored with it.
"""

from typing import Dict, List, Sequence

import torch
from torch import Tensor

from ..functional.common.grey import to_grey, to_uint8
from ..functional.common.per_source import PerSource
from .collection import PROTOCOLS
from .spec import MetricSpec, Protocol


def get_protocol(protocol: str) -> Protocol:
    """Look a protocol up.

    Raises:
        KeyError: It is unknown; the message lists what there is.
    """
    if protocol not in PROTOCOLS:
        raise KeyError(f'unknown protocol {protocol!r}, there are {list(PROTOCOLS)}')
    return PROTOCOLS[protocol]


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
    metrics = get_protocol(protocol).metrics
    if name not in metrics:
        elsewhere = [other for other, table in PROTOCOLS.items() if name in table.metrics]
        hint = f'; {name} exists in {elsewhere}' if elsewhere else ''
        raise KeyError(f'protocol {protocol!r} has no metric {name!r}, it has {list(metrics)}{hint}')
    return metrics[name]


def expand_names(names: Sequence[str], protocol: str = 'default') -> List[str]:
    """Resolve a list of metric names, in which ``'all'`` stands for every metric of the protocol that is not marked
    slow or on request.

    Raises:
        KeyError: The protocol or a metric is unknown.
        ValueError: The list is empty or names a metric twice.

    Examples:
        >>> expand_names(['MI', 'EN'])
        ['MI', 'EN']
    """
    names = [names] if isinstance(names, str) else list(names)
    everything = [name for name, spec in get_protocol(protocol).metrics.items() if not (spec.slow or spec.on_request)]
    expanded: List[str] = []
    for name in names:
        expanded += (
            [other for other in everything if other not in expanded and other not in names] if name == 'all' else [name]
        )
    for name in expanded:
        get_metric(name, protocol)
    if not expanded or len(set(expanded)) != len(expanded):
        raise ValueError(
            f'metrics must be a list of distinct names out of {list(get_protocol(protocol).metrics)}, got {names}'
        )
    return expanded


def prepare_images(images: Sequence[Tensor], protocol: str = 'default') -> List[Tensor]:
    """Bring images into the form that a protocol rates.

    Args:
        images: Fused image and sources, each (N, C, H, W), C = 1 or 3 (RGB), uint8 or floating in nominal [0, 1].
        protocol: Name of the protocol.

    Returns:
        uint8 images: (N, 1, H, W) luma for protocols on gray; for protocols on every channel (N, 3, H, W) if any image
        has color.

    Raises:
        TypeError: A dtype is neither uint8 nor floating.
        ValueError: The number of channels is neither 1 nor 3, or an image holds NaN.
    """
    if get_protocol(protocol).channels == 'grey' or all(image.shape[-3] == 1 for image in images):
        return [to_grey(image) for image in images]
    return [to_uint8(image).expand(*image.shape[:-3], 3, *image.shape[-2:]) for image in images]


def evaluate_metrics(
    names: Sequence[str], fused: Tensor, first: Tensor, second: Tensor, protocol: str = 'default'
) -> Dict[str, Tensor]:
    """Compute metrics by name; those that share a function share its work.

    Args:
        names: Short names.
        fused: (N, 1, H, W) whole gray levels 0..255; (N, 3, H, W) in protocols that rate every channel.
        first: First source, same shape.
        second: Second source, same shape.
        protocol: Name of the protocol.

    Returns:
        ``{name: (N,)}``, and ``{name}_first`` and ``{name}_second`` for a metric with a value per source; images
        smaller than the metric's window give NaN.

    Raises:
        KeyError: The protocol or the metric is unknown.
    """
    results: Dict[tuple, object] = {}
    values: Dict[str, Tensor] = {}
    for name in names:
        spec = get_metric(name, protocol)
        if fused.dim() == 4 and min(fused.shape[-2:]) < spec.min_size:
            values[name] = torch.full((len(fused),), torch.nan, dtype=torch.float64, device=fused.device)
            continue
        key = (spec.function, spec.whole_colour)
        if key not in results:
            results[key] = _call(
                spec, [fused, first, second] if spec.needs_sources else [fused], get_protocol(protocol)
            )
        value, n_images = results[key], len(fused)
        value = getattr(value, spec.field) if spec.field else value
        parts = (
            dict(zip(('', '_first', '_second'), (value.total, value.first, value.second)))
            if isinstance(value, PerSource)
            else {'': value}
        )
        # channels were rated as images of their own: average them
        values.update(
            {
                name + suffix: part if len(part) == n_images else part.view(n_images, -1).mean(1)
                for suffix, part in parts.items()
            }
        )
    return values


def evaluate_metric(
    name: str, fused: Tensor, first: Tensor, second: Tensor, protocol: str = 'default'
) -> Dict[str, Tensor]:
    """Compute one metric by name, see :func:`evaluate_metrics`."""
    return evaluate_metrics([name], fused, first, second, protocol)


def _call(spec: MetricSpec, images: List[Tensor], protocol: Protocol):
    if protocol.channels == 'each' and not spec.whole_colour:
        images = [image.flatten(0, 1).unsqueeze(1) for image in images]
    return spec.function(*images)
