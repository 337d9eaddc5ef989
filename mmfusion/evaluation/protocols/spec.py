"""Types of a protocol and of a metric in it."""

from typing import Callable, Dict, NamedTuple, Optional


class MetricSpec(NamedTuple):
    """One metric of a protocol.

    Attributes:
        function: Called with (fused,) or (fused, first, second), batches (N, 1, H, W) of gray levels 0..255. A pure
            function, usually a ``functools.partial`` that fixes the protocol's conventions. Metrics that share one
            function object are computed together.
        title: Full name, and what is summed or averaged.
        unit: Unit of the value, empty for a ratio.
        higher_is_better: Direction.
        optimum: The best value, where neither direction is better all the way; None elsewhere.
        needs_sources: Whether the function takes the sources.
        min_size: Smallest height and width that the function accepts.
        field: Attribute of the function's result that holds this metric, where one function yields several; empty for
            the result itself.
        whole_colour: In protocols that rate every color channel: the function takes all channels at once, (N, C, H, W).
        slow: Left out of the ``'all'`` shorthand because it takes more than 100 ms for a 480x640 pair.
        on_request: Left out of the ``'all'`` shorthand because it reproduces a known error.
        caution: One sentence printed below every table that holds the metric, where its value needs one.
    """

    function: Callable
    title: str
    unit: str = ''
    higher_is_better: bool = True
    optimum: Optional[float] = None
    needs_sources: bool = False
    min_size: int = 1
    field: str = ''
    whole_colour: bool = False
    slow: bool = False
    on_request: bool = False
    caution: str = ''

    @property
    def better(self) -> str:
        """Which values are better, in words: ``'higher'``, ``'lower'``, ``'closer to 0'``."""
        return (
            f'closer to {self.optimum:g}'
            if self.optimum is not None
            else 'higher'
            if self.higher_is_better
            else 'lower'
        )

    def merit(self, value: float) -> float:
        """Map a value so that larger is better.

        Examples:
            >>> MetricSpec(None, 'error', higher_is_better=False).merit(2.0), MetricSpec(None, 'excess', optimum=0.0).merit(-2.0)
            (-2.0, -2.0)
        """
        if self.optimum is not None:
            return -abs(value - self.optimum)
        return value if self.higher_is_better else -value


class Protocol(NamedTuple):
    """A named set of conventions, under which numbers of different papers may be compared.

    Attributes:
        name: Name that is printed with every table and stored with every result.
        title: One sentence: whose program, which generation.
        metrics: The metrics that it has, in the order of a table.
        channels: ``'grey'``: color becomes 8-bit luma (BT.601) first; ``'each'``: every color channel is rated, then
            averaged.
    """

    name: str
    title: str
    metrics: Dict[str, MetricSpec]
    channels: str = 'grey'
