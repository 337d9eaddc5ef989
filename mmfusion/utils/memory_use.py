"""Memory that is left for this process, and what a computation takes of it."""

import resource
import weakref
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# (limit, use) of a container: control groups of version 2, then of version 1
_GROUPS: Tuple[Tuple[str, str], ...] = (
    ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current'),
    ('/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory/memory.usage_in_bytes'),
)


def available_memory(device: 'torch.device | str' = 'cpu') -> int:
    """Bytes that this process can still take: of the GPU, or of main memory within the limits of its container and of
    ``ulimit -v``.

    Examples:
        >>> available_memory() > 0
        True
    """
    device = torch.device(device)
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [psutil.virtual_memory().available]
    for limit, used in _GROUPS:
        bounds = _number(limit), _number(used)
        if None not in bounds:
            left.append(bounds[0] - bounds[1])
            break
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        left.append(address_space - psutil.Process().memory_info().vms)
    return max(0, min(left))


def _number(path: str) -> Optional[int]:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such file, or 'max'
        return None


class _Live(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, for as long as these live."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in given:
                self._see(value.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.held:
            self.held[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key).atexit = False

    def _forget(self, key: int) -> None:
        self.now -= self.held.pop(key, 0)


def peak_tensor_bytes(function: Callable[[], object]) -> int:
    """Bytes of the tensors that a computation makes, when most of them live at once. What operations need inside
    themselves is not seen.

    Examples:
        >>> peak_tensor_bytes(lambda: torch.zeros(1000) + 1 + 1)  # of three tensors two live at once
        8000
    """
    with _Live() as live:
        function()
    return live.peak
