"""Settings of the C library's memory allocator, which decides how fast code with large temporaries runs."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_SIZES = (2**30, 2**25)  # the second is the highest value that older versions accept


def keep_freed_memory() -> bool:
    """Let this process keep memory that it freed, instead of returning every large block to the kernel at once (glibc).

    A fresh block costs a page fault for every 4 KiB, and metrics on float64 images allocate blocks of megabytes all the
    time. The same as starting the process with ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` raised. The
    process then stays as large as it ever was, so this is for programs that only score, not for training.

    Returns:
        Whether the C library took the settings; others than glibc have none.

    Examples:
        >>> isinstance(keep_freed_memory(), bool)
        True
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    return all(any(mallopt(option, size) == 1 for size in _SIZES) for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD))
