"""The result of a metric that compares the fused image with each source."""

from typing import NamedTuple

from torch import Tensor


class PerSource(NamedTuple):
    """Values against either source and what the protocol makes of the two.

    Attributes:
        first: (N,) against the first source.
        second: (N,) against the second source.
        total: (N,) sum or mean of the two, as the metric says.
    """

    first: Tensor
    second: Tensor
    total: Tensor

    @classmethod
    def of(cls, first: Tensor, second: Tensor, reduction: str) -> 'PerSource':
        """Put two values together with their sum or mean.

        Raises:
            ValueError: ``reduction`` is neither ``'sum'`` nor ``'mean'``.
        """
        if reduction not in ('sum', 'mean'):
            raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
        total = first + second
        return cls(first, second, total / 2 if reduction == 'mean' else total)


class BothSources(NamedTuple):
    """The two values before they are put together; also for whole results of either source."""

    first: Tensor
    second: Tensor
