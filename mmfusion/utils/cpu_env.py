"""Environment that must be set before torch is imported; this module therefore imports nothing heavy."""

import ctypes
import os
import platform
import sys
import warnings

from .errors import UserError

# Parameters of glibc's mallopt(3), from <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
TOP_PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what is freed for the next allocation, in this process and those that it forks.

    By default every block of some megabytes is a mapping of its own: freed, it goes back to the kernel, and the next
    operation faults it in again page by page, which costs large CPU operations more than their arithmetic. With this
    call blocks come from the heap, which grows by 64 MiB at a time and is never trimmed. It may come at any time, also
    after torch was imported, and counts for what is allocated from then on.

    The price: the process stays as large as its largest moment. Linux with glibc only; elsewhere, or with
    ``MMFUSION_MALLOC=default`` in the environment, nothing happens.

    Returns:
        Whether the allocator took the setting.

    Raises:
        UserError: ``MMFUSION_MALLOC`` is neither ``keep`` nor ``default``.

    Examples:
        >>> import unittest.mock
        >>> with unittest.mock.patch.dict(os.environ, MMFUSION_MALLOC='default'):
        ...     keep_freed_memory()
        False
    """
    choice = os.environ.get('MMFUSION_MALLOC') or 'keep'
    if choice not in ('keep', 'default'):
        raise UserError(
            f"MMFUSION_MALLOC must be 'keep' (freed memory is kept for the next operation) or 'default', got {choice!r}"
        )
    if choice == 'default' or platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # mallopt answers 1 for success
    return all([mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_TOP_PAD, TOP_PAD), mallopt(_M_MMAP_MAX, 0)])


def setup_cpu_env() -> None:
    """Let torch's OpenMP threads go to sleep soon when they wait (``OMP_WAIT_POLICY=PASSIVE``), unless the user chose
    otherwise.

    GNU OpenMP spins by default. On a busy machine with few cores the spinning threads of two processes starve each
    other, and a training step takes up to 25 times longer. Sleeping at once has its price too, since small operations
    end before a thread is awake again: a joint training step of 8 images of 128x160 took 0.127 s per image on two idle
    cores, 0.094 s with a short spin before sleep (``GOMP_SPINCOUNT=2000``), 0.073 s with a ten times longer one; beside
    one busy process 0.167, 0.174 and 0.406 s. The short spin is set. Both are read once, when torch is loaded, so this
    comes first in every tool; it also makes ``torch.load`` refuse pickled code everywhere
    (``TORCH_FORCE_WEIGHTS_ONLY_LOAD``), mmengine's fallback included, and the allocator keep freed memory
    (:func:`keep_freed_memory`, unless ``MMFUSION_MALLOC=default``). A process that merely imports ``mmfusion`` keeps
    the allocator as it is.

    Warns:
        RuntimeWarning: torch was imported already and the policy was not set, so it has no effect in this process.

    Examples:
        >>> setup_cpu_env()
        >>> os.environ['OMP_WAIT_POLICY']
        'PASSIVE'
    """
    if 'OMP_WAIT_POLICY' not in os.environ and 'torch' in sys.modules:
        warnings.warn(
            'torch was imported before mmfusion.utils.setup_cpu_env(): OMP_WAIT_POLICY=PASSIVE has no effect '
            'in this process. Call it first, or export OMP_WAIT_POLICY=PASSIVE',
            RuntimeWarning,
            stacklevel=2,
        )
    if os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE').upper() == 'PASSIVE':
        os.environ.setdefault('GOMP_SPINCOUNT', '2000')
    if 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ:  # torch refuses to have both
        os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    keep_freed_memory()
