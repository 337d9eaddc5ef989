"""Summary of a metric over images: mean, spread, best and worst image, ranks, without a list of all values."""

import math
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from ..protocols import MetricSpec, get_metric, get_protocol

SOURCES = ('first', 'second')
MAX_NAMED = 3


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        key: Name of the value, such as ``'MI'`` or ``'MI_first'``.
        metric: Name of the metric in its protocol, such as ``'MI'`` or ``'MS_SSIM'``.
        source: ``'first'`` or ``'second'`` for a value against one source, else empty.
    """

    key: str
    metric: str
    source: str = ''


def columns(metrics: Sequence[str], per_source: bool = True, found: Optional[Sequence[str]] = None) -> List[Column]:
    """The columns that metrics fill, in order.

    Args:
        metrics: Names of metrics.
        per_source: Also the values against either source.
        found: Names of values that occur; others are left out, but for the metrics themselves. None for all that are
            possible.

    Examples:
        >>> [column.key for column in columns(['EN', 'MS_SSIM'], found=['EN', 'MS_SSIM', 'MS_SSIM_first', 'MS_SSIM_second'])]
        ['EN', 'MS_SSIM', 'MS_SSIM_first', 'MS_SSIM_second']
    """
    listed = []
    for name in metrics:
        listed.append(Column(name, name))
        if per_source:
            listed += [
                Column(f'{name}_{source}', name, source)
                for source in SOURCES
                if found is None or f'{name}_{source}' in found
            ]
    return listed


class Statistics(NamedTuple):
    """What is known of one column over all images; the names are empty and the numbers NaN without a value.

    Attributes:
        mean: Mean over the images that have a value.
        std: Sample standard deviation over these images, NaN for fewer than two.
        count: Images with a value.
        undefined: Images without one.
        best: Name of the image with the best value.
        best_value: Its value.
        worst: Name of the image with the worst value.
        worst_value: Its value.
    """

    mean: float
    std: float
    count: int
    undefined: int
    best: str
    best_value: float
    worst: str
    worst_value: float


class _Running:
    """Mean and squared deviations of a stream (B. P. Welford, Technometrics 4, 419 (1962)), and its extremes with their
    names.
    """

    def __init__(self, merit: Callable[[float], float]) -> None:
        self.merit = merit
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.best, self.worst = ('', math.nan), ('', math.nan)
        self.undefined, self.undefined_names = 0, []

    def add(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            self.undefined += 1
            self.undefined_names += [name] if self.undefined <= MAX_NAMED else []
            return
        self.count += 1
        difference = value - self.mean
        self.mean += difference / self.count
        self.squares += difference * (value - self.mean)
        if self.count == 1 or self.merit(value) > self.merit(self.best[1]):
            self.best = name, value
        if self.count == 1 or self.merit(value) < self.merit(self.worst[1]):
            self.worst = name, value

    def result(self) -> Statistics:
        std = math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else math.nan
        return Statistics(
            self.mean if self.count else math.nan, std, self.count, self.undefined, *self.best, *self.worst
        )


class Summary:
    """Collects the values of images one by one; its size does not depend on how many there are.

    Args:
        metrics: Names of metrics, in the order of the table.
        protocol: Name of the protocol.

    Examples:
        >>> summary = Summary(['EN', 'SD'])
        >>> for name, value in (('a', 6.0), ('b', 7.0), ('c', float('nan'))):
        ...     summary.add(name, {'EN': value, 'SD': 50.0})
        >>> entropy = summary.statistics()['EN']
        >>> entropy.mean, entropy.count, entropy.undefined, entropy.best, entropy.worst
        (6.5, 2, 1, 'b', 'a')
    """

    def __init__(self, metrics: Sequence[str], protocol: str = 'default') -> None:
        self.metrics, self.protocol = list(metrics), protocol
        self.n_images = 0
        self._columns: Dict[str, _Running] = {}
        self._possible = {column.key: column for column in columns(metrics)}

    def add(self, name: str, values: Mapping[str, float]) -> None:
        """Take the values of one image; a value that is absent, NaN or infinite counts as undefined.

        Args:
            name: Name of the image.
            values: As :func:`~mmfusion.evaluation.protocols.evaluate_metrics` names them; others are ignored.
        """
        self.n_images += 1
        for key, column in self._possible.items():
            if key not in self._columns:
                if column.source and key not in values:
                    continue  # metrics without values per source, or none of the images so far has any
                self._columns[key] = _Running(get_metric(column.metric, self.protocol).merit)
            self._columns[key].add(name, values.get(key, math.nan))

    def columns(self, per_source: bool = True) -> List[Column]:
        """The columns that have statistics, in the order of the table."""
        return columns(self.metrics, per_source, list(self._columns))

    def statistics(self) -> Dict[str, Statistics]:
        """Statistics by name of the value."""
        empty = _Running(float)
        return {column.key: self._columns.get(column.key, empty).result() for column in self.columns()}

    def warnings(self) -> List[str]:
        """One sentence for each group of metrics that are undefined for the same images."""
        groups: Dict[tuple, List[str]] = {}
        for name in self.metrics:
            running = self._columns.get(name)
            if running and running.undefined:
                groups.setdefault((running.undefined, tuple(running.undefined_names)), []).append(name)
        return [
            f'{", ".join(names)} undefined for {count} of {self.n_images} images (first: '
            f'{", ".join(map(repr, named))}), left out of the mean: {self._cause(names)}'
            for (count, named), names in groups.items()
        ]

    def _cause(self, names: Sequence[str]) -> str:
        size = max(get_metric(name, self.protocol).min_size for name in names)
        return (
            f'the fused image holds NaN or is smaller than {size}x{size} pixels, or the protocol has no number for it'
        )


def title(column: Column, spec: MetricSpec) -> str:
    """What a column holds, in words.

    Examples:
        >>> title(Column('MI_first', 'MI', 'first'), get_metric('MI'))
        'mutual information against first [bit]'
    """
    words = f'{spec.title.split(",")[0]} against {column.source}' if column.source else spec.title
    return f'{words} [{spec.unit}]' if spec.unit else words


def cautions(metrics: Sequence[str], protocol: str = 'default') -> Dict[str, str]:
    """What to know before using a number of a table, by names of the metrics that it concerns; empty when there is
    nothing.
    """
    names: Dict[str, List[str]] = {}
    for name in metrics:
        names.setdefault(get_metric(name, protocol).caution, []).append(name)
    return {', '.join(concerned): text for text, concerned in names.items() if text}


def caution_lines(metrics: Sequence[str], protocol: str = 'default') -> List[str]:
    """The same as sentences that say which metrics they are about."""
    return [
        text if text.startswith(names) else f'{names}: {text}' for names, text in cautions(metrics, protocol).items()
    ]


def heading(protocol: str, n_images: int) -> str:
    """First line of every table: which protocol, and how many images.

    Examples:
        >>> heading('film', 20)
        "Fusion metrics, protocol 'film' (utils/Evaluator.py of IF-FILM: as cddfuse, SSIM with L = 255), mean over 20 images"
    """
    return (
        f'Fusion metrics, protocol {protocol!r} ({get_protocol(protocol).title}), mean over {n_images} '
        f'image{"s" if n_images != 1 else ""}'
    )


def format_value(value: float) -> str:
    """A number for a table: four decimals, two from 100 on, more digits where it is tiny.

    Examples:
        >>> format_value(7.17098), format_value(2890.534), format_value(3.1e-7), format_value(float('nan'))
        ('7.1710', '2890.53', '3.10e-07', '-')
    """
    if not math.isfinite(value):
        return '-'
    if value and abs(value) < 1e-3:
        return f'{value:.2e}'
    return f'{value:.4f}' if abs(value) < 100 else f'{value:.2f}'


def rank(merits: Mapping[str, float]) -> Dict[str, float]:
    """Ranks of methods, 1 for the largest merit; equal merits share the mean of their places, methods without one (NaN)
    have no rank (NaN).

    Examples:
        >>> rank({'a': 0.5, 'b': 0.7, 'c': 0.5})
        {'a': 2.5, 'b': 1.0, 'c': 2.5}
    """
    known = [merit for merit in merits.values() if math.isfinite(merit)]
    places = {}
    for name, merit in merits.items():
        better, equal = sum(other > merit for other in known), known.count(merit)
        places[name] = better + (equal + 1) / 2 if math.isfinite(merit) else math.nan
    return places
