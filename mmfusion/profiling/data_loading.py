"""Time that each transform of a data set's pipeline takes, and how many pairs workers have ready in a given time."""

import time
from typing import Any, Callable, Dict, Iterator, List


class TimedTransform:
    """A transform that notes how long it ran; in all else it is the one that it stands for.

    Args:
        transform: The transform.
        seconds: Where the CPU seconds of each call go.
    """

    def __init__(self, transform: Callable, seconds: List[float]) -> None:
        self._transform, self._seconds = transform, seconds

    def __call__(self, results: dict) -> Any:
        """Run the transform."""
        start = time.process_time()
        try:
            return self._transform(results)
        finally:
            self._seconds.append(time.process_time() - start)

    def __getattr__(self, name: str) -> Any:
        if name == '_transform':  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._transform, name)


class PipelineClock:
    """Clocks in the pipelines of a data set, and of those that it wraps or joins.

    Args:
        dataset: The data set; its pipelines are changed. One without a pipeline has nothing to show.
    """

    def __init__(self, dataset: Any) -> None:
        self._seconds: Dict[str, List[float]] = {}
        for pipeline in pipelines(dataset):
            named: Dict[str, int] = {}
            timed = []
            for transform in pipeline.transforms:
                name = title(transform)
                named[name] = named.get(name, 0) + 1
                name = name if named[name] == 1 else f'{name} {named[name]}'
                timed.append(TimedTransform(transform, self._seconds.setdefault(name, [])))
            pipeline.transforms = timed

    def per_pair(self, skip: int = 0) -> Dict[str, float]:
        """Mean CPU milliseconds for a pair by transform, without the first ``skip`` pairs.

        Where a pair is begun again, as when a crop holds no box, all attempts count.
        """
        pairs = min((len(seconds) for seconds in self._seconds.values()), default=0) - skip
        return {name: 1e3 * sum(seconds[skip:]) / pairs for name, seconds in self._seconds.items()} if pairs > 0 else {}


def pipelines(dataset: Any) -> Iterator[Any]:
    """Every pipeline of a data set, through wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    for part in getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]:
        if part is not None:
            yield from pipelines(part)
    if hasattr(getattr(dataset, 'pipeline', None), 'transforms'):
        yield dataset.pipeline


def title(transform: Any) -> str:
    """Name of a transform, with the one that it wraps.

    Examples:
        >>> from mmfusion.datasets.transforms import LoadPair
        >>> title(LoadPair())
        'LoadPair'
    """
    name = type(transform).__name__
    return f'{name}({type(transform.wrapped).__name__})' if hasattr(transform, 'wrapped') else name


def pairs_in_time(ms_per_pair: float, workers: int, step_ms: float) -> int:
    """Pairs that so many workers, with a core each, make in the time of a step.

    Examples:
        >>> pairs_in_time(16., 4, 50.)
        12
    """
    return int(workers * step_ms / ms_per_pair)
