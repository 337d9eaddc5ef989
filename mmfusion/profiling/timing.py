"""Timing on busy machines: medians after a warm-up, wall and CPU time apart, rivals taking turns."""

import os
import resource
import statistics
import time
from typing import Callable, Dict, List, NamedTuple, Optional

import torch

from mmfusion.utils.errors import InputError


class Timing(NamedTuple):
    """Repeated measurements of one function.

    Attributes:
        wall: Seconds of wall-clock time of each repeat.
        cpu: Seconds of CPU time of each repeat, summed over the threads of this process.
        gpu: Seconds between CUDA events of each repeat; empty on a CPU.
        memory: Highest memory during a call in bytes: allocated by torch on a GPU, resident set of the process on a
            CPU; None when unknown.
    """

    wall: List[float]
    cpu: List[float]
    gpu: List[float]
    memory: Optional[int]

    def median(self, kind: str = 'wall') -> float:
        """Median in seconds of ``'wall'``, ``'cpu'`` or ``'gpu'``; NaN without measurements."""
        values = getattr(self, kind)
        return statistics.median(values) if values else float('nan')

    def spread(self, kind: str = 'wall') -> float:
        """Half the interquartile range over the median: how far to trust the median; NaN for fewer than 4 repeats."""
        values = getattr(self, kind)
        if len(values) < 4:
            return float('nan')
        low, _, high = statistics.quantiles(values, n=4)
        return (high - low) / 2 / statistics.median(values)


def measure(
    functions: Dict[str, Callable[[], object]], repeats: int = 10, warmup: int = 2, device: str = 'cpu'
) -> Dict[str, Timing]:
    """Time functions against each other: in every round each runs once, in an order that turns around, so that a load
    from outside hits all.

    Args:
        functions: What to run, by name.
        repeats: Rounds that count.
        warmup: Rounds before, which do not.
        device: Device of the work; on CUDA events are recorded and every call is waited for.

    Returns:
        Timing by name. The memory is taken in a round of its own.

    Raises:
        ValueError: ``repeats`` is below 1 or ``warmup`` is negative.

    Examples:
        >>> len(measure({'sum': lambda: sum(range(100))}, repeats=3)['sum'].wall)
        3
    """
    if repeats < 1 or warmup < 0:
        raise InputError(f'repeats must be at least 1 and warmup at least 0, got {repeats} and {warmup}')
    cuda = torch.device(device).type == 'cuda'
    names = list(functions)
    for _ in range(warmup):
        for name in names:
            functions[name]()
    memory = {name: _peak_memory(functions[name], cuda, device) for name in names}
    rounds: Dict[str, list] = {name: [] for name in names}
    for index in range(repeats):
        for name in names if index % 2 == 0 else reversed(names):
            rounds[name].append(_time_once(functions[name], cuda, device))
    return {
        name: Timing(
            *(list(kind) for kind in list(zip(*values))[:2]), [v[2] for v in values] if cuda else [], memory[name]
        )
        for name, values in rounds.items()
    }


def ratio(one: Timing, other: Timing, kind: str = 'wall') -> float:
    """Median over the rounds of ``one / other``: pairing them cancels a load that both saw.

    Examples:
        >>> ratio(Timing([2., 4., 6.], [], [], None), Timing([1., 2., 3.], [], [], None))
        2.0
    """
    pairs = list(zip(getattr(one, kind), getattr(other, kind)))
    return statistics.median(a / b if b else float('nan') for a, b in pairs) if pairs else float('nan')


def _time_once(function: Callable[[], object], cuda: bool, device: str) -> tuple:
    if cuda:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    if cuda:
        start.record()
    function()
    if cuda:
        end.record()
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu, start.elapsed_time(end) / 1000 if cuda else None


def _peak_memory(function: Callable[[], object], cuda: bool, device: str) -> Optional[int]:
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    resets = _reset_peak_rss()
    function()
    return peak_rss() if resets else None


def _reset_peak_rss() -> bool:
    """Forget the highest resident set so far (Linux); False where that cannot be done."""
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')
        return True
    except OSError:
        return False


def peak_rss() -> int:
    """Highest resident set of this process in bytes, since the start or since the last reset."""
    try:
        with open('/proc/self/status') as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith('VmHWM'))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def extra_memory(function: Callable[[], object], device: str = 'cpu') -> Optional[int]:
    """Bytes that a call takes at its highest beyond what the process held before it; None when that cannot be known."""
    cuda = torch.device(device).type == 'cuda'
    before = torch.cuda.memory_allocated(device) if cuda else resident_memory()
    peak = _peak_memory(function, cuda, device)
    return None if peak is None or before is None else max(0, peak - before)


def resident_memory() -> Optional[int]:
    """Resident set of this process in bytes; None where the system does not tell."""
    try:
        with open('/proc/self/status') as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith('VmRSS'))
    except (OSError, StopIteration):
        return None


def describe_machine(device: str = 'cpu') -> Dict[str, object]:
    """What a timing depends on besides the code: device, threads, load, versions."""
    cuda = torch.device(device).type == 'cuda'
    return {
        'device': torch.cuda.get_device_name(device) if cuda else 'cpu',
        'cpu_count': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        'torch_threads': torch.get_num_threads(),
        'omp_wait_policy': os.environ.get('OMP_WAIT_POLICY', ''),
        'load_average': [round(value, 2) for value in os.getloadavg()],
        'torch': torch.__version__,
    }
