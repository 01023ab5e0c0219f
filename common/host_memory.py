"""The C library's allocator, set up for XLA's CPU backend.

A compiled function takes the memory for all its intermediate results with one call
to malloc, gigabytes in a training step, and frees it at the end. By default glibc
maps it anew each time, and the kernel clears every page at its first touch: a fifth
of a step's processor time (benchmarks/README.md).
"""

import ctypes
import sys
from collections.abc import Callable

# Numbers of malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed() -> None:
    """Makes the process keep what it frees, for its next use.

    Of the main thread alone: other threads have heaps of their own, too small for what
    a program takes, so that it should run on the main one. (One heap for all is slower:
    threads wait for it, and what compiling leaves there makes each search long.) Does
    nothing where the C library is another one.
    """
    if mallopt := _function("mallopt"):
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)


def release_freed() -> None:
    """Gives what is free now back to the system, such as the compiler's memory."""
    if trim := _function("malloc_trim"):
        trim(0)


def _function(name: str) -> Callable[..., int] | None:
    """Returns a function of glibc, None where the C library is another one."""
    if sys.platform != "linux":  # elsewhere even the library cannot be opened so
        return None
    return getattr(ctypes.CDLL(None), name, None)
